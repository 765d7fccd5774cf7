package vm

import (
	"errors"
	"io"
)

// noBootable is SeaBIOS's last line if no disk has a boot loader. It halts then.
const noBootable = "No bootable device."

var errNoBootable = failure{
	errors.New(`the firmware found nothing to boot from ("` + noBootable + `"): the machine has no disk with a boot loader for a BIOS; if the disk boots by UEFI, set firmware = "uefi"`),
	ErrGuest,
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
