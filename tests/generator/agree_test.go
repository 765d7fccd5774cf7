package generator_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// These tests compare the defaults, limits and sizes in Starlark with those in
// Go, and both with qemu-img.

// runfile returns the path of a runfile whose rlocationpath is in a variable of
// the environment.
func runfile(t *testing.T, variable string) string {
	t.Helper()
	path, err := runfiles.Rlocation(os.Getenv(variable))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

type imageInfo struct {
	clusterSize uint64
	extendedL2  bool
}

func (i imageInfo) String() string {
	return fmt.Sprintf("clusters of %d bytes, extended L2 %t", i.clusterSize, i.extendedL2)
}

// inspect returns what qemu-img says of an image.
func inspect(t *testing.T, path string) imageInfo {
	t.Helper()
	var info struct {
		ClusterSize uint64 `json:"cluster-size"`
		Specific    struct {
			Data struct {
				ExtendedL2 bool `json:"extended-l2"`
			}
		} `json:"format-specific"`
	}
	if err := json.Unmarshal([]byte(qemuimg.Must(t, t.TempDir(), "info", "--output=json", path)), &info); err != nil {
		t.Fatal(err)
	}
	return imageInfo{info.ClusterSize, info.Specific.Data.ExtendedL2}
}

// TestDefaults inspects overlays of which no attribute of the format is set, or
// only extended_l2.
func TestDefaults(t *testing.T) {
	layer := filepath.Join(t.TempDir(), "layer.qcow2")
	if err := qcow2.CreateLayer(layer, runfile(t, "DEFAULTS"), "qcow2"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]imageInfo{
		runfile(t, "DEFAULTS"):            {qcow2.LayerClusterSize, qcow2.LayerExtendedL2},
		layer:                             {qcow2.LayerClusterSize, qcow2.LayerExtendedL2},
		runfile(t, "WITHOUT_EXTENDED_L2"): {qcow2.DefaultClusterSize, false},
		runfile(t, "VERSION_2"):           {qcow2.DefaultClusterSize, false},
	} {
		if got := inspect(t, path); got != want {
			t.Errorf("%s has %v, want %v", path, got, want)
		}
	}
}

// TestClusterSizes inspects an overlay of each cluster size that the rule
// accepts. They must be those that the generator accepts.
func TestClusterSizes(t *testing.T) {
	overlays := strings.Fields(os.Getenv("CLUSTER_SIZES"))
	size := qcow2.MinClusterSize
	for _, overlay := range overlays {
		path, err := runfiles.Rlocation(overlay)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := inspect(t, path), (imageInfo{size, size >= qcow2.MinExtendedL2ClusterSize}); got != want {
			t.Errorf("%s has %v, want %v", overlay, got, want)
		}
		size *= 2
	}
	if size != 2*qcow2.MaxClusterSize {
		t.Errorf("the largest clusters of the rule have %d bytes, those of the generator %d", size/2, qcow2.MaxClusterSize)
	}
	// The analysis tests check that the rule refuses these.
	for _, options := range []string{
		fmt.Sprintf("cluster_size=%d", qcow2.MinClusterSize/2),
		fmt.Sprintf("cluster_size=%d", 2*qcow2.MaxClusterSize),
		fmt.Sprintf("cluster_size=%d,extended_l2=on", qcow2.MinExtendedL2ClusterSize/2),
	} {
		dir := t.TempDir()
		if log, err := qcow2gen(t, dir, "create", "-o", options, "t.qcow2", "1M").CombinedOutput(); err == nil {
			t.Errorf("qcow2gen accepts %s: %s", options, log)
		}
		if r := qemuimg.Run(t, dir, "create", "-f", "qcow2", "-o", options, "t.qcow2", "1M"); r.Code == 0 {
			t.Errorf("qemu-img accepts %s: %s", options, r.Stdout)
		}
	}
}

var formattingSize = regexp.MustCompile(`(?m)^Formatting .* size=(\d+)\b`)

// createSize returns the size that qemu-img create or qcow2gen create prints,
// or nil if it refuses the size.
func createSize(t *testing.T, stdout string) *uint64 {
	t.Helper()
	match := formattingSize.FindStringSubmatch(stdout)
	if match == nil {
		return nil
	}
	size, err := strconv.ParseUint(match[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return &size
}

// TestSizes compares parse_size in Starlark with qemu-img and qcow2gen. They
// differ in one suffix, and in hexadecimal numbers.
func TestSizes(t *testing.T) {
	text, err := os.ReadFile(runfile(t, "PARSED_SIZES"))
	if err != nil {
		t.Fatal(err)
	}
	var parsed map[string]*uint64
	if err := json.Unmarshal(text, &parsed); err != nil {
		t.Fatal(err)
	}
	for size, bytes := range parsed {
		dir := t.TempDir()
		// qemu-img prints the size before it creates the file, which fails for
		// the largest.
		theirs := createSize(t, qemuimg.Run(t, dir, "create", "-f", "raw", "t.raw", "--", size).Stdout)
		log, err := qcow2gen(t, dir, "create", "-o", "cluster_size=2M", "t.qcow2", "--", size).CombinedOutput()
		ours := createSize(t, string(log))
		if err != nil && strings.Contains(string(log), "virtual size is") {
			ours = theirs // a size, but one that is too large for qcow2
		}
		if !equal(ours, theirs) {
			t.Errorf("size %q: qcow2gen has %s, qemu-img has %s", size, show(ours), show(theirs))
		}
		switch {
		case strings.HasSuffix(size, "GiB") || strings.HasPrefix(size, "0x"):
			if (bytes == nil) == (theirs == nil) {
				t.Errorf("size %q: parse_size has %s, qemu-img has %s; want one of them to refuse it", size, show(bytes), show(theirs))
			}
		case !equal(bytes, theirs):
			t.Errorf("size %q: parse_size has %s, qemu-img has %s", size, show(bytes), show(theirs))
		}
	}
}

func equal(a, b *uint64) bool { return a == b || a != nil && b != nil && *a == *b }

func show(size *uint64) string {
	if size == nil {
		return "an error"
	}
	return fmt.Sprintf("%d bytes", *size)
}
