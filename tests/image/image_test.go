// Package image_test compares images of qcow2_image in the runfiles of a test with their
// sources, with qemu-img.
package image_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

const (
	kib = 1 << 10
	mib = 1 << 20

	// Of a release: rounded up to a multiple of 512.
	releaseSize = 48*64*kib + 1024
)

// images are the targets, and sources the raw files with their contents, by the
// environment variables that have their rlocation paths.
var images = []struct {
	env, source string
	layers      int // including the image
	virtualSize int64
	clusterSize int64
	compression string // "" if no cluster is compressed
	// clusters are the numbers of the clusters of 64 KiB that the image has itself,
	// if it has a backing file.
	clusters []int64
}{
	{"ZSTD", "RELEASE1", 1, releaseSize, 64 * kib, "zstd", nil},
	{"ZLIB", "RELEASE1", 1, releaseSize, 64 * kib, "zlib", nil},
	{"PLAIN", "RELEASE1", 1, releaseSize, 64 * kib, "", nil},
	{"LARGE_CLUSTERS", "RELEASE1", 1, releaseSize, 2 * mib, "zstd", nil},
	{"SIZED", "RELEASE1", 1, 20 << 30, 64 * kib, "zstd", nil},
	{"NAMED", "RELEASE1", 1, releaseSize, 64 * kib, "zstd", nil},
	{"OF_EXTERNAL", "EXTERNAL", 1, 8192, 64 * kib, "zstd", nil},
	{"OF_QCOW2_FILE", "RELEASE1", 1, releaseSize, 64 * kib, "zstd", nil},
	{"RELEASE2_ON_FILE", "RELEASE2", 2, releaseSize, 64 * kib, "zstd", []int64{6, 19, 32}},
	{"RELEASE2_ON_IMAGE", "RELEASE2", 2, releaseSize, 64 * kib, "zstd", []int64{6, 19, 32}},
	{"RELEASE2_ON_QCOW2_FILE", "RELEASE2", 2, releaseSize, 64 * kib, "zstd", []int64{6, 19, 32}},
	{"RELEASE3_ON_LAYER", "RELEASE3", 3, releaseSize, 64 * kib, "", []int64{9, 22, 35}},
	{"GROWN_ON_IMAGE", "RELEASE2", 2, 1 << 30, 64 * kib, "zstd", nil},
	{"SMALLER_THAN_BACKING", "EXTERNAL", 2, 8192, 64 * kib, "zstd", []int64{0}},
	{"FLATTENED", "RELEASE3", 1, releaseSize, 64 * kib, "zstd", nil},
	{"OF_OVERLAY", "RELEASE3", 1, 1 << 30, 64 * kib, "zstd", nil},
	{"OVERLAY", "RELEASE3", 4, 1 << 30, 128 * kib, "", nil},
}

func TestImages(t *testing.T) {
	for _, image := range images {
		t.Run(image.env, func(t *testing.T) {
			path, source := location(t, image.env), location(t, image.source)
			qemuimg.Must(t, "", "compare", "-f", "qcow2", "-F", "raw", path, source)

			var check struct {
				Compressed int64 `json:"compressed-clusters"`
			}
			qemuimg.Decode(t, &check, "check", "--output=json", path)
			if (check.Compressed > 0) != (image.compression != "") {
				t.Errorf("got %d compressed clusters, want compression %q", check.Compressed, image.compression)
			}

			got := qemuimg.LinkedChain(t, path, image.layers)[0]
			if got.Format != "qcow2" || got.VirtualSize != image.virtualSize || got.ClusterSize != image.clusterSize || got.Specific.Data.Compat != "1.1" {
				t.Errorf("got %+v, want %+v", got, image)
			}
			if image.compression != "" && got.Specific.Data.CompressionType != image.compression {
				t.Errorf("got compression %s, want %s", got.Specific.Data.CompressionType, image.compression)
			}
			if image.clusters != nil {
				if got := ownClusters(t, path); !slices.Equal(got, image.clusters) {
					t.Errorf("the image has the clusters %v, want %v", got, image.clusters)
				}
			}
		})
	}
}

// ownClusters returns the numbers of the clusters of 64 KiB that the image has
// itself, not the images below it.
func ownClusters(t *testing.T, path string) []int64 {
	t.Helper()
	var extents []struct {
		Start  int64 `json:"start"`
		Length int64 `json:"length"`
		Depth  int   `json:"depth"`
	}
	qemuimg.Decode(t, &extents, "map", "--output=json", path)
	var clusters []int64
	for _, e := range extents {
		if e.Depth > 0 {
			continue
		}
		for offset := e.Start; offset < e.Start+e.Length; offset += 64 * kib {
			clusters = append(clusters, offset/(64*kib))
		}
	}
	return clusters
}

// TestSizes compares the lengths of the files.
func TestSizes(t *testing.T) {
	size := func(env string) int64 {
		info, err := os.Stat(location(t, env))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	// Of each three clusters, one is text, one noise and one zeros.
	const clusters = 16
	raw, plain := size("RELEASE1"), size("PLAIN")
	if limit := int64(2*clusters+8) * 64 * kib; plain > limit {
		t.Errorf("the image without compression has %d bytes, want at most %d", plain, limit)
	}
	for _, env := range []string{"ZLIB", "ZSTD"} {
		if got, limit := size(env), int64(clusters+8)*64*kib; got > limit {
			t.Errorf("%s has %d bytes, want at most %d", env, got, limit)
		}
	}
	if layer := size("RELEASE2_ON_IMAGE"); layer > raw/4 {
		t.Errorf("the layer has %d bytes, want at most a quarter of %d", layer, raw)
	}
}

func location(t *testing.T, env string) string {
	t.Helper()
	// Bazel quotes a path with spaces as for a shell.
	path, err := runfiles.Rlocation(strings.Trim(os.Getenv(env), "'"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}
