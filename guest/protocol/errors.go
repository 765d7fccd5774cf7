package protocol

import "io/fs"

// Error is the agent's refusal of a request, or the reason why it failed. It
// matches fs.ErrNotExist, fs.ErrExist and fs.ErrPermission if the guest's system
// said so.
type Error struct {
	Errno   uint32 // of Linux, or 0
	Message string
}

func (e *Error) Error() string { return e.Message }

// Is reports whether the guest's error number means target. The numbers are
// Linux's: the host may run another system.
func (e *Error) Is(target error) bool {
	switch e.Errno {
	case 1, 13: // EPERM, EACCES
		return target == fs.ErrPermission
	case 2: // ENOENT
		return target == fs.ErrNotExist
	case 17: // EEXIST
		return target == fs.ErrExist
	}
	return false
}
