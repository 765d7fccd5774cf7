package vm

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
)

// Screenshot writes the display to path as a PNG file. It needs
// Config.Display.
func (m *Machine) Screenshot(ctx context.Context, path string) error {
	_, err := m.monitor().Execute(ctx, "screendump", map[string]any{"filename": path, "format": "png"})
	if err == nil || ctx.Err() != nil {
		return err
	}
	// QEMU before 7.1 and QEMU without libpng write only portable pixmaps.
	os.Remove(path)
	raw := filepath.Join(m.options.Dir, "screen.ppm")
	defer os.Remove(raw)
	if _, err := m.monitor().Execute(ctx, "screendump", map[string]any{"filename": raw}); err != nil {
		return m.explain(err)
	}
	ppm, err := os.ReadFile(raw)
	if err != nil {
		return err
	}
	picture, err := pixmapToPNG(ppm)
	if err != nil {
		return err
	}
	return os.WriteFile(path, picture, 0o666)
}

// maxPixels bounds the memory for a screen, whose size the guest chooses: 8K has 33 million.
const maxPixels = 1 << 26

// pixmapToPNG converts a portable pixmap.
func pixmapToPNG(ppm []byte) ([]byte, error) {
	r := bufio.NewReader(bytes.NewReader(ppm))
	var width, height, maximum int
	if _, err := fmt.Fscanf(r, "P6\n%d %d\n%d\n", &width, &height, &maximum); err != nil {
		return nil, fmt.Errorf("screen dump is not a portable pixmap: %w", err)
	}
	if maximum != 255 || width < 1 || height < 1 || width > maxPixels || height > maxPixels/width {
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
