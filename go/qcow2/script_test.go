package qcow2_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// script makes one image with a long history: snapshots, bitmaps and changes of
// size. (qemuscript makes chains with contents.) The same seed makes the same
// image, except for the time in snapshots.
type script struct {
	*rand.Rand
	dir  string
	name string

	size        uint64 // virtual size in bytes
	clusterSize uint64 // in bytes
	version     int
	dataFile    bool
	backing     bool
}

// newScript creates the image name in dir with random options.
func newScript(t *testing.T, seed uint64, dir, name string) *script {
	t.Helper()
	s := &script{Rand: rand.New(rand.NewPCG(seed, 0)), dir: dir, name: name, version: 3}
	s.clusterSize = 512 << s.pick(0, 0, 1, 3, 5, 7, 7, 8)
	s.size = s.Uint64N(600*s.clusterSize)/512*512 + 512
	options := []string{fmt.Sprintf("cluster_size=%d", s.clusterSize)}
	option := func(format string, args ...any) { options = append(options, fmt.Sprintf(format, args...)) }
	if s.IntN(5) == 0 {
		s.version = 2
		option("compat=0.10")
	} else {
		option("refcount_bits=%d", 1<<s.pick(4, 4, 4, 0, 1, 2, 3, 5, 6))
		option("lazy_refcounts=%s", onOff(s.IntN(4) == 0))
		option("extended_l2=%s", onOff(s.clusterSize >= 16384 && s.IntN(2) == 0))
		option("compression_type=%s", []string{"zlib", "zstd"}[s.IntN(2)])
		if s.dataFile = s.IntN(8) == 0; s.dataFile {
			option("data_file=%s.data,data_file_raw=%s", name, onOff(s.IntN(2) == 0))
		}
	}
	args := []string{"create", "-q", "-f", "qcow2"}
	if s.backing = !strings.Contains(strings.Join(options, ","), "data_file_raw=on") && s.IntN(3) == 0; s.backing {
		base := filepath.Join(dir, name+".base")
		writePattern(t, base, int(s.Uint64N(2*s.size)))
		args = append(args, "-b", base, "-F", "raw")
	} else if s.IntN(4) == 0 {
		option("preallocation=%s", []string{"metadata", "falloc"}[s.IntN(2)])
	}
	qemuimg.Must(t, dir, append(args, "-o", strings.Join(options, ","), name, fmt.Sprint(s.size))...)
	return s
}

func (s *script) pick(values ...int) int { return values[s.IntN(len(values))] }

// step changes the image by several commands of qemu-io, or by one of qemu-img.
// A step that fails leaves the image unchanged.
func (s *script) step(t *testing.T) {
	t.Helper()
	img := func(args ...string) { qemuimg.Run(t, s.dir, args...) }
	switch s.IntN(12) {
	default:
		var commands []string
		for range 1 + s.IntN(12) {
			commands = append(commands, s.command())
		}
		qemuimg.IO(t, s.dir, s.name, commands...)
	case 0, 1:
		img("snapshot", "-c", fmt.Sprintf("s%d", s.IntN(4)), s.name)
	case 2:
		img("snapshot", []string{"-a", "-d"}[s.IntN(2)], fmt.Sprintf("s%d", s.IntN(4)), s.name)
	case 3:
		s.size = max(512, s.size/2+s.Uint64N(s.size)/512*512)
		img("resize", "-q", "-f", "qcow2", "--shrink", s.name, fmt.Sprint(s.size))
	case 4:
		img("bitmap", "--add", "-g", fmt.Sprint(512<<s.IntN(12)), s.name, fmt.Sprintf("b%d", s.IntN(3)))
	case 5:
		img("bitmap", []string{"--remove", "--clear", "--disable"}[s.IntN(3)], s.name, fmt.Sprintf("b%d", s.IntN(3)))
	}
}

// command returns a random command of qemu-io that changes the image.
func (s *script) command() string {
	offset := s.Uint64N(s.size) / 512 * 512
	length := min(s.size-offset, (1+s.Uint64N(1+s.Uint64N(16*s.clusterSize)))/512*512+512)
	if s.IntN(2) == 0 {
		// Compression needs whole clusters, and discards free only those.
		offset = offset / s.clusterSize * s.clusterSize
		length = min(s.size-offset, (length+s.clusterSize-1)/s.clusterSize*s.clusterSize)
	}
	switch s.IntN(8) {
	default:
		return fmt.Sprintf("write -P %d %d %d", 1+s.IntN(255), offset, length)
	case 0, 1:
		return fmt.Sprintf("write -c -P %d %d %d", 1+s.IntN(255), offset, length)
	case 2:
		return fmt.Sprintf("write -z %d %d", offset, length)
	case 3:
		return fmt.Sprintf("write -z -u %d %d", offset, length)
	case 4:
		return fmt.Sprintf("discard %d %d", offset, length)
	}
}
