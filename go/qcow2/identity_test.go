package qcow2_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// image is one set of parameters, for qemu-img and for Generate.
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
	dataFile      string
	dataFileRaw   bool
}

func (i image) String() string {
	s := fmt.Sprintf("size=%d,backing=%s,version=%d,cluster=%d,extl2=%t,lazy=%t,refcount=%d,compression=%s,preallocation=%s",
		i.size, i.backing, i.version, i.clusterSize, i.extendedL2, i.lazyRefcounts, i.refcountBits, i.compression, i.preallocation)
	if i.dataFile != "" {
		s += fmt.Sprintf(",raw=%t", i.dataFileRaw)
	}
	return s
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
	if i.dataFile != "" {
		opts = append(opts, qcow2.GenerateWithDataFile(i.dataFile), qcow2.GenerateWithDataFileRaw(i.dataFileRaw))
	}
	return opts
}

// createArguments are qemu-img's arguments for making the image in the file
// name.
func (i image) createArguments(name string) []string {
	options := fmt.Sprintf("compat=%s,cluster_size=%d,extended_l2=%s,lazy_refcounts=%s,refcount_bits=%d,compression_type=%s,preallocation=%s",
		map[int]string{2: "0.10", 3: "1.1"}[i.version], i.clusterSize, onOff(i.extendedL2), onOff(i.lazyRefcounts), i.refcountBits, i.compression, i.preallocation)
	if i.dataFile != "" {
		options += fmt.Sprintf(",data_file=%s,data_file_raw=%s", i.dataFile, onOff(i.dataFileRaw))
	}
	args := []string{"create", "-q", "-f", "qcow2", "-o", options}
	if i.backing != "" {
		args = append(args, "-b", "base."+i.backing, "-F", i.backing)
	}
	args = append(args, name)
	if i.size != 0 {
		args = append(args, fmt.Sprint(i.size))
	}
	return args
}

// version3Options is the number of options that need version 3.
func (i image) version3Options() int {
	n := 0
	for _, given := range []bool{i.extendedL2, i.lazyRefcounts, i.refcountBits != 16, i.compression != qcow2.CompressionZlib, i.dataFile != ""} {
		if given {
			n++
		}
	}
	return n
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
	writeFile(t, filepath.Join(dir, "base.raw"), nil)
	if err := os.Truncate(filepath.Join(dir, "base.raw"), 65<<20); err != nil {
		t.Fatal(err)
	}
	mustGenerate(t, filepath.Join(dir, "base.qcow2"), qcow2.GenerateWithFileSize(3<<30))
}

// TestGenerateSameBytesAsQemuImg compares whole files for all combinations of
// options at one cluster size. Generate must accept and refuse the same options
// as qemu-img create.
func TestGenerateSameBytesAsQemuImg(t *testing.T) {
	dir := t.TempDir()
	bases(t, dir)
	for _, version := range []int{2, 3} {
		for _, backing := range []string{"", "raw", "qcow2"} {
			for _, extendedL2 := range []bool{false, true} {
				for _, lazyRefcounts := range []bool{false, true} {
					for _, refcountBits := range []int{16, 1, 64} {
						for _, compression := range []qcow2.CompressionType{qcow2.CompressionZlib, qcow2.CompressionZstd} {
							i := image{size: 1000, backing: backing, version: version, clusterSize: 65536, extendedL2: extendedL2, lazyRefcounts: lazyRefcounts,
								refcountBits: refcountBits, compression: compression, preallocation: qcow2.PreallocationOff}
							if backing != "" {
								i.size = 0
							}
							if version == 2 && i.version3Options() > 1 {
								continue // one is enough for a refusal
							}
							compareWithQemuImg(t, dir, i)
						}
					}
				}
			}
		}
	}
}

// TestGenerateSameBytesAsQemuImgEveryClusterSize varies the cluster size and
// the options that depend on it: it limits the contents of the first cluster
// and the length of the tables.
func TestGenerateSameBytesAsQemuImgEveryClusterSize(t *testing.T) {
	dir := t.TempDir()
	bases(t, dir)
	for clusterSize := uint64(512); clusterSize <= 2<<20; clusterSize *= 2 {
		for n, size := range []uint64{65 << 20, 10<<30 + 512} {
			for _, version := range []int{2, 3} {
				for _, extendedL2 := range []bool{false, true} {
					if version == 2 && extendedL2 {
						continue
					}
					backing := []string{"", "raw", "qcow2"}[(n+version)%3]
					compareWithQemuImg(t, dir, image{size: size, backing: backing, version: version, clusterSize: clusterSize, extendedL2: extendedL2,
						refcountBits: 16, compression: qcow2.CompressionZlib, preallocation: qcow2.PreallocationOff})
				}
			}
		}
	}
}

// TestGenerateSameBytesAsQemuImgManyRefcountBlocks has images that need several
// refcount blocks. Their L1 tables end near the last cluster that a refcount
// block counts, where a new block needs another one.
func TestGenerateSameBytesAsQemuImgManyRefcountBlocks(t *testing.T) {
	for _, grid := range []struct {
		clusterSize  uint64
		refcountBits []int
		blocks       []uint64
		deltas       []int64
	}{
		{512, []int{1, 8, 16, 64}, []uint64{1, 2, 7}, []int64{-5, -4, -3, -2, -1, 0}},
		{1024, []int{16}, []uint64{1, 3}, []int64{-4, -3, -2, -1}},
		{4096, []int{64}, []uint64{1}, []int64{-4, -3, -2, -1}},
	} {
		dir := t.TempDir()
		for _, refcountBits := range grid.refcountBits {
			perBlock := grid.clusterSize * 8 / uint64(refcountBits)
			perL1Cluster := grid.clusterSize / 8 * (grid.clusterSize / 8 * grid.clusterSize)
			// Half of what a table of one cluster covers.
			// TestGenerateSameBytesAsQemuImgGrownRefcountTable has larger ones.
			maxL1Clusters := min(10000, perBlock*grid.clusterSize/8/2)
			for _, blocks := range grid.blocks {
				for _, delta := range grid.deltas {
					l1Clusters := uint64(int64(blocks*perBlock) + delta)
					if l1Clusters > maxL1Clusters {
						continue
					}
					compareWithQemuImg(t, dir, image{size: l1Clusters * perL1Cluster, version: 3, clusterSize: grid.clusterSize, refcountBits: refcountBits,
						compression: qcow2.CompressionZlib, preallocation: qcow2.PreallocationOff})
				}
			}
		}
	}
}

// TestGenerateSameBytesAsQemuImgGrownRefcountTable has images that need more
// refcount blocks than a refcount table of one cluster has entries. QEMU puts a
// larger table after everything else and leaves the old one in the file.
func TestGenerateSameBytesAsQemuImgGrownRefcountTable(t *testing.T) {
	for _, grid := range []struct {
		clusterSize  uint64
		refcountBits int
		l1Clusters   []uint64
	}{
		// A table of one cluster has 64 entries. They cover 4096 clusters with
		// counts of 64 bits.
		{512, 64, []uint64{4028, 4029, 4032, 4033, 4095, 4096, 4097, 6000}},
		{512, 32, []uint64{8124, 8125, 8128, 8129, 8192}},
		{512, 16, []uint64{16318, 16320, 16384, 40961}},
		{512, 8, []uint64{32700, 65536}},
		{512, 1, []uint64{65536}},
		{1024, 64, []uint64{16250, 16256}},
	} {
		if long() && grid.clusterSize == 512 {
			grid.l1Clusters = append(grid.l1Clusters, 65536) // qemu-img takes minutes
		}
		dir := t.TempDir()
		for _, l1Clusters := range grid.l1Clusters {
			perL1Cluster := grid.clusterSize / 8 * (grid.clusterSize / 8 * grid.clusterSize)
			compareWithQemuImg(t, dir, image{size: l1Clusters * perL1Cluster, version: 3, clusterSize: grid.clusterSize, refcountBits: grid.refcountBits,
				compression: qcow2.CompressionZlib, preallocation: qcow2.PreallocationOff})
		}
	}
}

// TestGenerateSameBytesAsQemuImgLargestSize has the largest virtual size that
// QEMU opens, and one sector more.
func TestGenerateSameBytesAsQemuImgLargestSize(t *testing.T) {
	dir := t.TempDir()
	for _, largest := range []image{
		{size: 8 << 40, clusterSize: 4096},
		{size: 2 << 50, clusterSize: 65536},
		{size: 1 << 50, clusterSize: 65536, extendedL2: true},
		{size: 2 << 60, clusterSize: 2 << 20},
	} {
		largest.version, largest.refcountBits = 3, 16
		largest.compression, largest.preallocation = qcow2.CompressionZlib, qcow2.PreallocationOff
		compareWithQemuImg(t, dir, largest)
		largest.size += 512
		compareWithQemuImg(t, dir, largest)
	}
}

func compareWithQemuImg(t *testing.T, dir string, i image) {
	t.Run(i.String(), func(t *testing.T) {
		t.Parallel()
		ours, theirs := filepath.Join(dir, i.String()+".ours"), filepath.Join(dir, i.String()+".theirs")
		result := qemuimg.Run(t, dir, i.createArguments(theirs)...)
		err := generate(t, ours, i.options()...)
		if result.Code != 0 {
			if err == nil {
				t.Fatalf("Generate accepts what qemu-img create refuses: %s", result.Stderr)
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
		os.Remove(ours)
		os.Remove(theirs)
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
