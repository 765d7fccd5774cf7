package vm

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// debugPort is the device on which SeaBIOS says what it does. It shows its messages on
// the screen otherwise, but not on a serial port.
const debugPort = "isa-debugcon,iobase=0x402,chardev=firmware"

// noBootable is SeaBIOS's last line if no disk has a boot loader. It halts then.
const noBootable = "No bootable device."

var errNoBootable = failure{
	errors.New(`the firmware found nothing to boot from ("` + noBootable + `"): the machine has no disk with a boot loader for a BIOS; if the disk boots by UEFI, set firmware = "uefi"`),
	ErrGuest,
}

// hasDebugPort reports whether SeaBIOS looks for something to boot from.
func (c *Config) hasDebugPort() bool {
	own := slices.ContainsFunc(c.QEMUArgs, func(arg string) bool { return strings.Contains(arg, "isa-debugcon") })
	return c.Arch == "x86_64" && !c.isMicroVM() && c.Kernel == "" && c.UEFICode == "" && c.Snapshot == nil && !own
}

// addDebugPort adds the debug port, which is linked to the file descriptor fd.
func addDebugPort(args *arguments, fd int) {
	args.add("-chardev", fmt.Sprintf("socket,id=firmware,fd=%d", fd), "-device", debugPort)
}

// readFirmware reads the messages of SeaBIOS until QEMU ends. The guest can write there,
// too.
func (m *Machine) readFirmware() {
	readLines(io.TeeReader(m.firmware, &m.logs.firmware), func(line string) {
		if line == noBootable {
			m.finish(End{Failure: errNoBootable})
		}
	})
}
