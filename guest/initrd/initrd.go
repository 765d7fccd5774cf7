// Package initrd writes an initial RAM disk with the agent in it.
//
// The kernel unpacks several archives that follow each other into one root. Put
// this one first, then the distribution's initrd if there is one, and boot with
// the kernel argument [KernelArg].
package initrd

import (
	"errors"
	"fmt"
	"io"
)

// KernelArg makes the kernel start the agent, which then starts the
// distribution's init.
const KernelArg = "rdinit=/" + agentPath

const agentPath = "rules_qcow2/agent"

// Write writes an uncompressed archive with the program agent, which must be
// static, to w. Its length is a multiple of 4: the kernel finds a further archive
// only there, unless zeros pad to it.
//
// The same agent gives the same bytes.
func Write(w io.Writer, agent []byte) error {
	if int64(len(agent)) > 1<<32-1 {
		return errors.New("agent is too large for an archive: the limit is 4 GiB")
	}
	a := archive{w: w}
	a.entry("rules_qcow2", 0o040755, nil)
	a.entry(agentPath, 0o100755, agent)
	a.entry("TRAILER!!!", 0, nil)
	return a.err
}

// archive writes the "newc" format of cpio: Linux's
// Documentation/driver-api/early-userspace/buffer-format.rst.
type archive struct {
	w     io.Writer
	inode int
	err   error
}

func (a *archive) entry(name string, mode int, content []byte) {
	a.inode++
	links := 1
	if mode&0o170000 == 0o040000 {
		links = 2
	}
	const (
		uid, gid, mtime      = 0, 0, 0
		major, minor         = 0, 0
		rmajor, rminor, csum = 0, 0, 0
	)
	header := "070701"
	for _, field := range []int{
		a.inode, mode, uid, gid, links, mtime, len(content),
		major, minor, rmajor, rminor, len(name) + 1, csum,
	} {
		header += fmt.Sprintf("%08X", field)
	}
	a.write([]byte(header + name + "\x00"))
	a.write(content)
}

// write writes b and zeros up to a multiple of 4 bytes.
func (a *archive) write(b []byte) {
	for _, part := range [][]byte{b, make([]byte, -len(b)&3)} {
		if a.err == nil && len(part) > 0 {
			_, a.err = a.w.Write(part)
		}
	}
}
