package qcow2_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// image is one set of parameters, as qemu-img's and as ours.
type image struct {
	size          uint64 // 0: that of the backing file
	backing       string // "", "raw", "qcow2"
	version       int
	clusterSize   uint64
	extendedL2    bool
	lazyRefcounts bool
	refcountBits  int
	compression   qcow2.CompressionType
	preallocation qcow2.Preallocation
}

func (i image) String() string {
	return fmt.Sprintf("size=%d,backing=%s,version=%d,cluster=%d,extl2=%t,lazy=%t,refcount=%d,compression=%s,preallocation=%s",
		i.size, i.backing, i.version, i.clusterSize, i.extendedL2, i.lazyRefcounts, i.refcountBits, i.compression, i.preallocation)
}

func (i image) options() []*qcow2.GenerateOption {
	opts := []*qcow2.GenerateOption{
		qcow2.GenerateWithVersion(i.version),
		qcow2.GenerateWithClusterSize(i.clusterSize),
		qcow2.GenerateWithExtendedL2(i.extendedL2),
		qcow2.GenerateWithLazyRefcounts(i.lazyRefcounts),
		qcow2.GenerateWithRefcountBits(i.refcountBits),
		qcow2.GenerateWithCompressionType(i.compression),
		qcow2.GenerateWithPreallocation(i.preallocation),
	}
	if i.size != 0 {
		opts = append(opts, qcow2.GenerateWithFileSize(i.size))
	}
	if i.backing != "" {
		opts = append(opts, qcow2.GenerateWithBackingFile("base."+i.backing), qcow2.GenerateWithBackingFormat(i.backing))
	}
	return opts
}

func (i image) arguments(name string) []string {
	args := []string{"create", "-q", "-f", "qcow2", "-o", fmt.Sprintf(
		"compat=%s,cluster_size=%d,extended_l2=%s,lazy_refcounts=%s,refcount_bits=%d,compression_type=%s,preallocation=%s",
		map[int]string{2: "0.10", 3: "1.1"}[i.version], i.clusterSize, onOff(i.extendedL2), onOff(i.lazyRefcounts), i.refcountBits, i.compression, i.preallocation)}
	if i.backing != "" {
		args = append(args, "-b", "base."+i.backing, "-F", i.backing)
	}
	args = append(args, name)
	if i.size != 0 {
		args = append(args, fmt.Sprint(i.size))
	}
	return args
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// bases makes base.raw and base.qcow2 of different sizes in dir.
func bases(t testing.TB, dir string) {
	t.Helper()
	mustQemuImg(t, dir, "create", "-q", "-f", "raw", "base.raw", "65M")
	mustQemuImg(t, dir, "create", "-q", "-f", "qcow2", "base.qcow2", "3G")
}

func generate(t testing.TB, path string, opts ...*qcow2.GenerateOption) error {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return qcow2.Generate(f, opts...)
}

// TestGenerateSameBytesAsQemuImg compares whole files over all combinations of
// options: what qemu-img makes we make, what it refuses we refuse.
func TestGenerateSameBytesAsQemuImg(t *testing.T) {
	dir := t.TempDir()
	bases(t, dir)
	sizes := []uint64{1000, 64 << 20, 10<<30 + 512}
	clusterSizes := []uint64{512, 4096, 8192, 65536, 2 << 20}
	if testing.Short() {
		sizes, clusterSizes = sizes[1:2], clusterSizes[3:4]
	}
	for _, size := range sizes {
		for _, clusterSize := range clusterSizes {
			for _, version := range []int{2, 3} {
				for _, backing := range []string{"", "raw", "qcow2"} {
					for _, flags := range []struct{ extendedL2, lazyRefcounts bool }{{false, false}, {true, true}, {true, false}, {false, true}} {
						for _, compression := range []qcow2.CompressionType{qcow2.CompressionZlib, qcow2.CompressionZstd} {
							i := image{size, backing, version, clusterSize, flags.extendedL2, flags.lazyRefcounts, 16, compression, qcow2.PreallocationOff}
							if backing != "" && size == 1000 {
								i.size = 0
							}
							compareWithQemuImg(t, dir, i)
						}
					}
				}
			}
		}
	}
}

// TestGenerateSameBytesAsQemuImgManyRefcountBlocks goes where one refcount
// block does not do, and where two or three are made by one another.
func TestGenerateSameBytesAsQemuImgManyRefcountBlocks(t *testing.T) {
	dir := t.TempDir()
	for _, clusterSize := range []uint64{512, 1024, 2048, 4096} {
		for _, refcountBits := range []int{1, 2, 4, 8, 16, 32, 64} {
			perBlock := clusterSize * 8 / uint64(refcountBits)
			covered := clusterSize / 8 * clusterSize // by one L2 table
			perL1Cluster := clusterSize / 8 * covered
			maxL1Clusters := min((32<<20)/clusterSize, perBlock*clusterSize/8*9/10)
			// L1 tables that end around the last cluster of a refcount block.
			for _, blocks := range []uint64{1, 2, 3, 7} {
				for _, delta := range []int64{-6, -5, -4, -3, -2, -1, 0, 1} {
					l1Clusters := uint64(int64(blocks*perBlock) + delta)
					if l1Clusters > maxL1Clusters || l1Clusters > 20000 {
						continue
					}
					compareWithQemuImg(t, dir, image{l1Clusters * perL1Cluster, "", 3, clusterSize, false, false, refcountBits, qcow2.CompressionZlib, qcow2.PreallocationOff})
				}
			}
		}
	}
}

func compareWithQemuImg(t *testing.T, dir string, i image) {
	t.Run(i.String(), func(t *testing.T) {
		ours, theirs := filepath.Join(dir, "ours.qcow2"), filepath.Join(dir, "theirs.qcow2")
		_, accepted := runQemuImg(t, dir, i.arguments("theirs.qcow2")...)
		err := generate(t, ours, i.options()...)
		if !accepted {
			if err == nil {
				t.Fatal("qemu-img create refuses what Generate accepts")
			}
			if !strings.HasPrefix(err.Error(), "qcow2: ") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is not one sentence of this package: %q", err)
			}
			if len(readFile(t, ours)) != 0 {
				t.Error("Generate wrote something before it refused")
			}
			return
		}
		if err != nil {
			t.Fatalf("Generate: %v, but qemu-img create accepts it", err)
		}
		ourBytes, theirBytes := readFile(t, ours), readFile(t, theirs)
		if !bytes.Equal(ourBytes, theirBytes) {
			t.Errorf("files differ: ours is %d bytes long, qemu-img's %d, first difference at byte %d", len(ourBytes), len(theirBytes), firstDifference(ourBytes, theirBytes))
		}
	})
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
