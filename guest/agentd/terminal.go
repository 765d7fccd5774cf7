//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// endOfInput is Ctrl-D, which a terminal's reader gets as the end of its input.
const endOfInput = "\x04"

// terminal is a pseudo-terminal.
type terminal struct {
	master *os.File // the agent's end; an error of a read is the end of the output
	slave  *os.File // the command's end
}

// openTerminal opens a new terminal that belongs to a user.
func openTerminal(m *protocol.Run, uid uint32) (*terminal, error) {
	master, err := openMaster()
	if err != nil {
		return nil, fmt.Errorf("open a terminal: %w", err)
	}
	var unlock, number int32
	err = ioctl(master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	if err == nil {
		err = ioctl(master, syscall.TIOCGPTN, unsafe.Pointer(&number))
	}
	// In nonblocking mode, closing it ends reads and writes.
	t := &terminal{master: os.NewFile(uintptr(master), ptmx)}
	if err == nil {
		t.resize(uint16(m.Rows), uint16(m.Columns))
		name := ptsDir + "/" + strconv.Itoa(int(number))
		var slave int
		// Unlike os.OpenFile, this leaves it in blocking mode, as the command needs it.
		if slave, err = syscall.Open(name, syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0); err == nil {
			t.slave = os.NewFile(uintptr(slave), name)
			// It belongs to the agent's user now. The group is the one that the mount of
			// devpts gives it. A guest may forbid a change that is not needed.
			if int(uid) != os.Geteuid() {
				err = os.Chown(name, int(uid), -1)
			}
			if err != nil {
				t.slave.Close()
			}
		}
	}
	if err != nil {
		t.master.Close()
		return nil, fmt.Errorf("open a terminal: %w", err)
	}
	return t, nil
}

const (
	ptmx   = "/dev/ptmx"
	ptsDir = "/dev/pts"
)

// openMaster opens a new terminal. It mounts devpts if the guest has not done that.
func openMaster() (fd int, err error) {
	const flags = syscall.O_RDWR | syscall.O_NOCTTY | syscall.O_NONBLOCK | syscall.O_CLOEXEC
	fd, err = syscall.Open(ptmx, flags, 0)
	var st syscall.Statfs_t
	const devptsMagic = 0x1cd1
	if syscall.Statfs(ptsDir, &st) == nil && st.Type == devptsMagic {
		return fd, err
	}
	if err == nil {
		syscall.Close(fd) // of another mount, which has no names for terminals here
	}
	os.MkdirAll(ptsDir, 0o755)
	if err := syscall.Mount("devpts", ptsDir, "devpts", syscall.MS_NOSUID|syscall.MS_NOEXEC, "mode=620,ptmxmode=666"); err != nil {
		return -1, fmt.Errorf("mount %s: %w", ptsDir, err)
	}
	if fd, err = syscall.Open(ptmx, flags, 0); err == syscall.ENOENT {
		fd, err = syscall.Open(ptsDir+"/ptmx", flags, 0)
	}
	return fd, err
}

// resize changes the size. The kernel sends SIGWINCH to the foreground process group.
func (t *terminal) resize(rows, columns uint16) {
	conn, err := t.master.SyscallConn()
	if err != nil {
		return
	}
	conn.Control(func(fd uintptr) {
		size := struct{ rows, columns, x, y uint16 }{rows: rows, columns: columns}
		ioctl(int(fd), syscall.TIOCSWINSZ, unsafe.Pointer(&size))
	})
}

// terminalStreams returns the streams of a command with a terminal.
func terminalStreams(m *protocol.Run, t *terminal) *streams {
	s := &streams{
		outputs: []*output{newOutput(t.master, m.WantStdout)},
		child:   []*os.File{t.slave, t.slave, t.slave},
		stdin:   t.master,
		eof:     endOfInput,
	}
	if !m.WantStdin {
		t.master.WriteString(endOfInput)
		s.stdin = nil
	}
	return s
}
