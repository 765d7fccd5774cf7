package replace

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// copyAttributes gives f exactly the extended attributes of the file at path. A new
// file has others if its folder has a default access control list.
func copyAttributes(f *os.File, path string) error {
	want, err := attributes(path)
	if err != nil {
		return err
	}
	// Package syscall has these calls for paths only.
	self := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	got, err := attributes(self)
	if err != nil {
		return err
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			if err := syscall.Removexattr(self, name); err != nil {
				return fmt.Errorf("attribute %s: %w", name, err)
			}
		}
	}
	for name, value := range want {
		if other, ok := got[name]; !ok || other != value {
			if err := syscall.Setxattr(self, name, []byte(value), 0); err != nil {
				return fmt.Errorf("attribute %s: %w", name, err)
			}
		}
	}
	return nil
}

func attributes(path string) (map[string]string, error) {
	names, err := sized(func(b []byte) (int, error) { return syscall.Listxattr(path, b) })
	if errors.Is(err, syscall.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, name := range strings.FieldsFunc(names, func(r rune) bool { return r == 0 }) {
		value, err := sized(func(b []byte) (int, error) { return syscall.Getxattr(path, name, b) })
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		values[name] = value
	}
	return values, nil
}

// sized calls get for the size of the result, and again for the result.
func sized(get func([]byte) (int, error)) (string, error) {
	n, err := get(nil)
	if err != nil || n == 0 {
		return "", err
	}
	b := make([]byte, n)
	n, err = get(b)
	return string(b[:max(n, 0)]), err
}
