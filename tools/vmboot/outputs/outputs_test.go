package outputs_test

import (
	"bytes"
	"image/color"
	"image/png"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/outputs"
)

func TestPNG(t *testing.T) {
	b, err := outputs.PNG([]byte("P6\n2 1\n255\n\xff\x00\x00\x00\x00\xff"))
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

func TestPNGOfSomethingElse(t *testing.T) {
	for _, ppm := range []string{"", "P5\n2 1\n255\n", "P6\n2 1\n65535\n", "P6\n2 1\n255\nabc", "P6\n0 1\n255\n", "P6\n99999999 99999999\n255\n"} {
		if _, err := outputs.PNG([]byte(ppm)); err == nil {
			t.Errorf("%q is a picture", ppm)
		}
	}
}
