package qcow2

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// layerRoot opens only layers below a directory.
type layerRoot struct {
	*os.Root
	dir string // absolute
}

func newLayerRoot(dir string) (*layerRoot, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("qcow2: root directory %s: %w", dir, err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("qcow2: root directory: %w", err)
	}
	return &layerRoot{root, abs}, nil
}

// open is openLayer for a path that must be below the root. os.Root checks the
// target. The path is made relative as text and is not cleaned, because
// "dir/.." is another directory if dir is a symbolic link.
func (r *layerRoot) open(path string) (*os.File, int64, error) {
	abs := path
	if !filepath.IsAbs(path) {
		wd, err := os.Getwd()
		if err != nil {
			return nil, 0, err
		}
		abs = wd + "/" + path
	}
	name, ok := strings.CutPrefix(abs, strings.TrimSuffix(r.dir, "/")+"/")
	if !ok {
		return nil, 0, fmt.Errorf("it is not below the root directory %s", r.dir)
	}
	name = strings.TrimLeft(name, "/")
	info, err := r.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	return openRegular(path, info, func() (*os.File, error) { return r.Open(name) })
}
