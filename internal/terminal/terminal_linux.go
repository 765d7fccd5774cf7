// Package terminal runs programs on pseudo-terminals, for tests.
package terminal

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"unsafe"
)

// A Session is a program on a terminal of its own.
type Session struct {
	cmd           *exec.Cmd
	master, slave *os.File
	before        syscall.Termios // the settings at the start

	mu     sync.Mutex
	screen bytes.Buffer
	closed chan struct{} // by the reader of the terminal
}

// Start starts a program as the leader of a new session, whose terminal is new.
func Start(cmd *exec.Cmd) (*Session, error) {
	s := &Session{cmd: cmd, closed: make(chan struct{})}
	if err := s.open(); err != nil {
		s.closeFiles()
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.slave, s.slave, s.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		s.closeFiles()
		return nil, err
	}
	go s.read()
	return s, nil
}

// open opens a new terminal.
func (s *Session) open() (err error) {
	if s.master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		return err
	}
	var unlock, number int32
	if err := ioctl(s.master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock)); err != nil {
		return err
	}
	if err := ioctl(s.master, syscall.TIOCGPTN, unsafe.Pointer(&number)); err != nil {
		return err
	}
	if s.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		return err
	}
	s.before, err = s.settings()
	return err
}

// read ends when no process has the terminal any more.
func (s *Session) read() {
	defer close(s.closed)
	b := make([]byte, 4096)
	for {
		n, err := s.master.Read(b)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.screen.Write(b[:n])
		s.mu.Unlock()
	}
}

// Screen returns everything that the terminal has shown.
func (s *Session) Screen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.screen.String()
}

// Type types a text.
func (s *Session) Type(text string) error {
	_, err := s.master.WriteString(text)
	return err
}

// Changed says whether the terminal has other settings than at the start.
func (s *Session) Changed() (bool, error) {
	now, err := s.settings()
	return now != s.before, err
}

// Restore gives the terminal the settings at the start, as a shell does whose program stops.
func (s *Session) Restore() error {
	return ioctl(s.slave, syscall.TCSETS, unsafe.Pointer(&s.before))
}

// Wait waits for the program, and closes the terminal. Its error is that of
// exec.Cmd.Wait, or says that the program left other settings.
func (s *Session) Wait() error {
	err := s.cmd.Wait()
	if changed, changedErr := s.Changed(); err == nil || changed {
		if err = changedErr; changed {
			err = fmt.Errorf("the terminal's settings at the end are not those at the start")
		}
	}
	s.slave.Close()
	<-s.closed
	s.master.Close()
	return err
}

func (s *Session) closeFiles() {
	for _, f := range []*os.File{s.master, s.slave} {
		if f != nil {
			f.Close()
		}
	}
}

func (s *Session) settings() (settings syscall.Termios, err error) {
	return settings, ioctl(s.slave, syscall.TCGETS, unsafe.Pointer(&settings))
}

func ioctl(f *os.File, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(argument)); errno != 0 {
		return fmt.Errorf("ioctl %#x: %w", request, errno)
	}
	return nil
}

// Resize changes the size of the terminal, in characters.
func (s *Session) Resize(rows, columns uint16) error {
	size := struct{ rows, columns, x, y uint16 }{rows: rows, columns: columns}
	return ioctl(s.master, syscall.TIOCSWINSZ, unsafe.Pointer(&size))
}
