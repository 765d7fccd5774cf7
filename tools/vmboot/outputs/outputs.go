// Package outputs writes what a run leaves for its reader.
package outputs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
)

// A Dir is the folder for the files: a test's undeclared outputs.
type Dir struct {
	Path    string
	Console *os.File // console.log: what the guest wrote, as it is
	QEMU    *os.File // qemu.log: what QEMU wrote to standard error
}

// Open makes the logs.
func Open(path string) (*Dir, error) {
	d := &Dir{Path: path}
	var err error
	if d.Console, err = os.Create(d.Join("console.log")); err != nil {
		return nil, err
	}
	d.QEMU, err = os.Create(d.Join("qemu.log"))
	return d, err
}

// Close closes the logs.
func (d *Dir) Close() error { return errors.Join(d.Console.Close(), d.QEMU.Close()) }

// Join returns the path of a file.
func (d *Dir) Join(name string) string { return filepath.Join(d.Path, name) }

// Write writes a file.
func (d *Dir) Write(name, text string) error {
	return os.WriteFile(d.Join(name), []byte(text), 0o666)
}

// PNG converts a portable pixmap, which is what a QEMU without libpng makes of
// a screen.
func PNG(ppm []byte) ([]byte, error) {
	r := bufio.NewReader(bytes.NewReader(ppm))
	var width, height, maximum int
	if _, err := fmt.Fscanf(r, "P6\n%d %d\n%d\n", &width, &height, &maximum); err != nil {
		return nil, fmt.Errorf("screen dump is no portable pixmap: %w", err)
	}
	if maximum != 255 || width < 1 || height < 1 || width > 1<<14 || height > 1<<14 {
		return nil, fmt.Errorf("screen dump of %dx%d pixels with %d shades is not supported", width, height, maximum)
	}
	pixels := make([]byte, 3*width*height)
	if _, err := io.ReadFull(r, pixels); err != nil {
		return nil, fmt.Errorf("screen dump: %w", err)
	}
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range width * height {
		picture.SetRGBA(i%width, i/width, color.RGBA{pixels[3*i], pixels[3*i+1], pixels[3*i+2], 255})
	}
	var b bytes.Buffer
	err := png.Encode(&b, picture)
	return b.Bytes(), err
}
