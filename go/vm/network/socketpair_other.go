//go:build !unix

package network

import (
	"errors"
	"os"
)

func socketpair() (ours, guest *os.File, err error) {
	return nil, nil, errors.ErrUnsupported
}
