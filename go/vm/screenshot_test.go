package vm

import (
	"bytes"
	"image/color"
	"image/png"
	"testing"
)

func TestPixmapToPNG(t *testing.T) {
	b, err := pixmapToPNG([]byte("P6\n2 1\n255\n\xff\x00\x00\x00\x00\xff"))
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for x, want := range []color.RGBA{{255, 0, 0, 255}, {0, 0, 255, 255}} {
		if got := color.RGBAModel.Convert(picture.At(x, 0)); got != want {
			t.Errorf("pixel %d is %v, want %v", x, got, want)
		}
	}
}

func TestPixmapToPNGOfSomethingElse(t *testing.T) {
	for _, ppm := range []string{"", "P5\n2 1\n255\n", "P6\n2 1\n65535\n", "P6\n2 1\n255\nabc", "P6\n0 1\n255\n", "P6\n99999999 99999999\n255\n"} {
		if _, err := pixmapToPNG([]byte(ppm)); err == nil {
			t.Errorf("%q was accepted", ppm)
		}
	}
}
