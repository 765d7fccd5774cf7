// Package qemuscript makes backing chains with random scripts of qemu-img and qemu-io,
// for tests that compare this project's results with QEMU's. The same seed gives the
// same script.
package qemuscript

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// SeedsVariable is the environment variable for the number of seeds that Seeds
// runs.
const SeedsVariable = "QCOW2_SEEDS"

// Seeds runs f as a subtest for each seed from 1 to count, or to the number in
// the environment variable: QCOW2_SEEDS=5000 go test -run Random …. Two run at
// a time, because most of the time goes to starting QEMU.
func Seeds(t *testing.T, count uint64, f func(t *testing.T, seed uint64)) {
	if s := os.Getenv(SeedsVariable); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("%s is %q; it must be a number of seeds", SeedsVariable, s)
		}
		count = n
	}
	for seed := uint64(1); seed <= count; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			f(t, seed)
		})
	}
}

// A Layer is an image that a script made.
type Layer struct {
	Name      string // in the script's directory
	Format    string // raw or qcow2
	Snapshots []string
}

// A Chain is the result of a script.
type Chain struct {
	Dir    string
	Layers []Layer // the top first
}

// Make runs the script of the given seed in dir. If the test fails, the log
// has the script.
func Make(t testing.TB, dir string, seed uint64) Chain {
	t.Helper()
	s := &script{t: t, dir: dir, r: rand.New(rand.NewPCG(seed, 0))}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("script:\n%s", strings.Join(s.log, "\n"))
		}
	})
	s.writeFile("noise", s.noise(256<<10))
	for depth := s.r.IntN(4); len(s.layers) <= depth; {
		s.addLayer()
	}
	s.changeChain()
	return Chain{dir, s.layers}
}

type script struct {
	t      testing.TB
	dir    string
	r      *rand.Rand
	log    []string
	layers []Layer // the top first
	size   int     // of the top layer in bytes, at its creation
	// clusterSize is the cluster size of the top layer in bytes.
	clusterSize int
}

// run runs qemu-img and reports whether it succeeded. QEMU refuses some
// commands of a script.
func (s *script) run(args ...string) bool {
	s.log = append(s.log, "qemu-img "+strings.Join(args, " "))
	result := qemuimg.Run(s.t, s.dir, args...)
	if result.Code != 0 {
		s.log = append(s.log, "# "+strings.TrimSpace(result.Stderr))
	}
	return result.Code == 0
}

func (s *script) must(args ...string) {
	s.t.Helper()
	if !s.run(args...) {
		s.t.Fatalf("qemu-img %q failed", args)
	}
}

func (s *script) chance(percent int) bool { return s.r.IntN(100) < percent }

func pick[T any](s *script, of ...T) T { return of[s.r.IntN(len(of))] }

func (s *script) noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.r.Uint32())
	}
	return b
}

func (s *script) writeFile(name string, b []byte) {
	if err := os.WriteFile(filepath.Join(s.dir, name), b, 0o666); err != nil {
		s.t.Fatal(err)
	}
}

// addLayer makes an image on top of the others and writes to it.
func (s *script) addLayer() {
	n := len(s.layers)
	if n == 0 && s.chance(40) {
		s.addRaw()
		return
	}
	layer := Layer{Name: fmt.Sprintf("layer%d.qcow2", n), Format: "qcow2"}
	s.size = 1 + s.r.IntN(12<<20)
	args := []string{"create", "-q", "-f", "qcow2", "-o", s.options(layer.Name, n > 0)}
	if n > 0 {
		args = append(args, "-b", s.layers[0].Name, "-F", s.layers[0].Format)
	}
	s.must(append(args, layer.Name, strconv.Itoa(s.size))...)
	s.layers = append([]Layer{layer}, s.layers...)
	s.write()
	if s.chance(25) && s.run("snapshot", "-q", "-c", "before", layer.Name) {
		s.layers[0].Snapshots = []string{"before"}
		s.write()
	}
	if s.chance(20) {
		s.size = 1 + s.r.IntN(12<<20)
		s.run("resize", "-q", "--shrink", "-f", "qcow2", layer.Name, strconv.Itoa(s.size))
		if s.chance(50) {
			s.write()
		}
	}
	if s.chance(5) {
		s.run("amend", "-q", "-f", "qcow2", "-o", "compat="+pick(s, "0.10", "1.1"), layer.Name)
	}
	if s.chance(10) {
		s.run("bitmap", "-f", "qcow2", "--add", layer.Name, "dirty")
	}
}

// addRaw makes a raw file with data, zeros and holes. Its size may not be a
// multiple of 512.
func (s *script) addRaw() {
	s.size = s.r.IntN(12 << 20)
	if s.chance(50) {
		s.size &^= 511
	}
	layer := Layer{Name: "layer0.raw", Format: "raw"}
	f, err := os.Create(filepath.Join(s.dir, layer.Name))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	for range s.r.IntN(8) {
		b := s.noise(1 + s.r.IntN(200<<10))
		if s.chance(20) {
			clear(b)
		}
		if _, err := f.WriteAt(b, int64(s.r.IntN(s.size+1))); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := f.Truncate(int64(s.size)); err != nil {
		s.t.Fatal(err)
	}
	s.log = append(s.log, fmt.Sprintf("# %s is a raw file of %d bytes", layer.Name, s.size))
	s.layers = []Layer{layer}
}

// options returns random creation options that qemu-img accepts together.
func (s *script) options(name string, overlay bool) string {
	s.clusterSize = pick(s, 512, 1024, 4096, 16<<10, 64<<10, 64<<10, 128<<10, 2<<20)
	options := []string{"cluster_size=" + strconv.Itoa(s.clusterSize)}
	if s.chance(15) {
		return strings.Join(append(options, "compat=0.10"), ",")
	}
	extended := s.clusterSize >= 16<<10 && s.chance(40)
	if extended {
		options = append(options, "extended_l2=on")
	}
	if s.chance(40) {
		options = append(options, "compression_type=zstd")
	}
	if s.chance(20) {
		options = append(options, "lazy_refcounts=on")
	}
	if s.chance(20) {
		options = append(options, "refcount_bits="+pick(s, "1", "2", "8", "32", "64"))
	}
	raw := false
	if s.chance(15) {
		options = append(options, "data_file="+name+".data")
		if raw = !overlay && s.chance(50); raw {
			options = append(options, "data_file_raw=on")
		}
	}
	if (!overlay || extended) && !raw && s.chance(25) {
		options = append(options, "preallocation="+pick(s, "metadata", "metadata", "falloc", "full"))
	}
	return strings.Join(options, ",")
}

// write lets qemu-io write, write zeros and discard at random places of the top
// layer.
func (s *script) write() {
	args := []string{"-t", "unsafe", "-d", pick(s, "unmap", "ignore"), "-f", "qcow2"}
	for range 1 + s.r.IntN(10) {
		args = append(args, "-c", s.command())
	}
	args = append(args, s.layers[0].Name)
	s.log = append(s.log, "qemu-io "+strings.Join(args, " "))
	qemuimg.RunIO(s.t, s.dir, args...)
}

func (s *script) command() string {
	offset := s.r.IntN(s.size)
	length := 1 + s.r.IntN(min(s.size-offset, pick(s, 4<<10, 64<<10, 256<<10, 4<<20)))
	if s.chance(70) {
		offset, length = offset&^511, (length+511)&^511
	}
	pattern := 1 + s.r.IntN(255)
	switch s.r.IntN(10) {
	case 0, 1, 2, 3:
		return fmt.Sprintf("write -q -P %d %d %d", pattern, offset, length)
	case 4:
		return fmt.Sprintf("write -q -s noise %d %d", offset, length)
	case 5:
		return fmt.Sprintf("write -q -z %d %d", offset, length)
	case 6:
		return fmt.Sprintf("write -q -z -u %d %d", offset, length)
	case 7:
		return fmt.Sprintf("discard -q %d %d", offset, length)
	}
	// Compressed writes need whole clusters.
	source := fmt.Sprintf("-P %d", pattern)
	if s.chance(20) {
		source = "-s noise" // does not compress
	}
	offset = offset / s.clusterSize * s.clusterSize
	return fmt.Sprintf("write -q -c %s %d %d", source, offset, min(s.clusterSize*(1+s.r.IntN(3)), max(s.size-offset, 1)))
}

// changeChain changes the whole chain as an administrator might.
func (s *script) changeChain() {
	top := s.layers[0]
	if len(s.layers) > 1 && s.chance(15) {
		s.run("commit", "-q", "-t", "unsafe", "-f", "qcow2", top.Name)
		if s.chance(50) {
			s.write()
		}
	}
	if len(s.layers) > 2 && s.chance(20) {
		below := s.layers[2+s.r.IntN(len(s.layers)-2):]
		if s.run("rebase", "-q", "-u", "-f", "qcow2", "-b", below[0].Name, "-F", below[0].Format, top.Name) {
			s.layers = append([]Layer{top}, below...)
		}
	}
	if s.chance(5) {
		s.run("convert", "-c", "-O", "qcow2", "-o", "compression_type="+pick(s, "zlib", "zstd"), "-f", top.Format, top.Name, "converted.qcow2")
		if _, err := os.Stat(filepath.Join(s.dir, "converted.qcow2")); err == nil {
			s.layers = []Layer{{Name: "converted.qcow2", Format: "qcow2"}}
		}
	}
}
