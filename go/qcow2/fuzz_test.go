package qcow2_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// The targets begin with the images of testdata/fuzz/images, and with inputs
// on which they once failed. A run is
//
//	go test -fuzz FuzzCheck ./go/qcow2

func addImages(f *testing.F) {
	paths, err := filepath.Glob("testdata/fuzz/images/*.qcow2")
	if err != nil || len(paths) == 0 {
		f.Fatalf("no images to begin with: %v", err)
	}
	for _, path := range paths {
		image, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(image)
	}
}

// boundAllocation calls run, and fails if it allocates more than a small
// multiple of the input and a fixed amount, both in bytes.
func boundAllocation(t *testing.T, image []byte, factor, fixed uint64, run func()) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > factor*uint64(len(image))+fixed {
		t.Errorf("%d bytes are allocated for an input of %d", n, len(image))
	}
}

func FuzzInspect(f *testing.F) {
	addImages(f)
	f.Fuzz(inspectAnything)
}

func inspectAnything(t *testing.T, image []byte) {
	// After the end of the file, a snapshot table has up to 65,536 entries of zeros.
	boundAllocation(t, image, 32, 64<<20, func() {
		i, err := qcow2.Inspect(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			return
		}
		if size := i.ClusterSize(); size < 512 || size > 2<<20 || i.Header.Version < 2 || i.Header.Version > 3 {
			t.Errorf("accepted: %+v", i)
		}
		i.Compat()
		i.CompressionType()
		i.RefcountBits()
	})
}

func FuzzCheck(f *testing.F) {
	addImages(f)
	f.Fuzz(checkAnything)
}

func checkAnything(t *testing.T, image []byte) {
	boundAllocation(t, image, 128, 32<<20, func() {
		result, err := qcow2.Check(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			return
		}
		if wrong := verdict(result, nil) != 0; wrong != (len(result.Problems) > 0) {
			t.Errorf("%d problems, but %+v", len(result.Problems), result)
		}
	})
}

// FuzzDamaged damages fields of the images, which random changes seldom hit.
func FuzzDamaged(f *testing.F) {
	paths, err := filepath.Glob("testdata/fuzz/images/*.qcow2")
	if err != nil || len(paths) == 0 {
		f.Fatalf("no images to begin with: %v", err)
	}
	for i := range paths {
		f.Add(uint8(i), uint64(0), uint8(3))
	}
	f.Fuzz(func(t *testing.T, which uint8, seed uint64, damages uint8) {
		image, err := os.ReadFile(paths[int(which)%len(paths)])
		if err != nil {
			t.Fatal(err)
		}
		c := corruptor{Rand: rand.New(rand.NewPCG(seed, 0)), image: image}
		c.findFields()
		for range damages % 16 {
			c.damage()
		}
		defer func() {
			if t.Failed() {
				t.Logf("%s: %q", paths[int(which)%len(paths)], c.log)
			}
		}()
		inspectAnything(t, c.image)
		checkAnything(t, c.image)
		readAnything(t, c.image)
	})
}
