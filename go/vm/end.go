package vm

import (
	"fmt"
	"os"
)

// An End says how a machine ended.
type End struct {
	ExitStatus int       // of QEMU
	Signal     os.Signal // that killed QEMU; nil if none did
	// Reason is QEMU's reason for the end of the guest: guest-shutdown,
	// guest-reset or guest-panic; "" if the guest did not end.
	Reason string
	// Failure is the error that ended the machine: a line on its console that
	// means a crash, an internal error of KVM, a full disk of the host.
	Failure error
	// Stopped reports whether Stop or Close ended the machine.
	Stopped bool
	// Frozen reports whether Freeze ended the machine.
	Frozen bool
}

// PoweredOff reports whether the guest powered off. A reboot does not count.
func (e End) PoweredOff() bool {
	return e.Failure == nil && e.Signal == nil && e.ExitStatus == 0 && e.Reason == "guest-shutdown"
}

// String returns a clause: "the guest powered off".
func (e End) String() string {
	s := fmt.Sprintf("QEMU ended with exit status %d", e.ExitStatus)
	if e.Signal != nil {
		s = fmt.Sprintf("QEMU was killed (%v)", e.Signal)
	}
	switch {
	case e.Frozen:
		return "the machine is frozen and does not run any more; use a fork"
	case e.Reason == "guest-shutdown" && e.Signal == nil && e.ExitStatus == 0:
		return "the guest powered off"
	case e.Reason == "guest-shutdown":
		return s
	case e.Reason == "guest-reset":
		return "the guest reset the machine"
	case e.Reason == "guest-panic":
		return "the guest reported a panic"
	case e.Reason != "":
		return s + " (" + e.Reason + ")"
	}
	return s
}
