package qemuimg

import (
	"encoding/json"
	"path/filepath"
	"testing"
)

// A Layer is an image as qemu-img info describes it.
type Layer struct {
	Filename      string `json:"filename"`
	Format        string `json:"format"`
	VirtualSize   int64  `json:"virtual-size"`
	ClusterSize   int64  `json:"cluster-size"`
	BackingFormat string `json:"backing-filename-format"`
	BackingFile   string `json:"backing-filename"`
	Specific      struct {
		Data struct {
			Compat          string `json:"compat"`
			CompressionType string `json:"compression-type"`
			ExtendedL2      bool   `json:"extended-l2"`
		} `json:"data"`
	} `json:"format-specific"`
}

// LinkedChain returns an image that a rule made, and all images below it. Each image
// must record the format of its backing file, and have it in its folder of links.
// There must be as many images as layers says; otherwise the test ends.
func LinkedChain(t testing.TB, path string, layers int) []Layer {
	t.Helper()
	var chain []Layer
	Decode(t, &chain, "info", "--backing-chain", "--output=json", path)
	if len(chain) != layers {
		t.Fatalf("chain has %d layers, want %d: %+v", len(chain), layers, chain)
	}
	for _, layer := range chain[:layers-1] {
		if want := filepath.Base(layer.Filename) + ".backing/"; filepath.Dir(layer.BackingFile)+"/" != want {
			t.Errorf("%s has the backing file %s, want a file in %s", layer.Filename, layer.BackingFile, want)
		}
		if layer.BackingFormat == "" {
			t.Errorf("%s does not record the backing format", layer.Filename)
		}
	}
	return chain
}

// Decode runs qemu-img like Must, and decodes its output from JSON.
func Decode(t testing.TB, value any, args ...string) {
	t.Helper()
	out := Must(t, "", args...)
	if err := json.Unmarshal([]byte(out), value); err != nil {
		t.Fatalf("qemu-img %q: %v: %s", args, err, out)
	}
}
