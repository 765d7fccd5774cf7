package sparse

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/rules-qcow2/rules_qcow2/internal/need"
)

func open(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func allocated(t *testing.T, f *os.File) int64 {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return int64(info.Sys().(*syscall.Stat_t).Blocks) * 512
}

func TestNextData(t *testing.T) {
	f := open(t, "file")
	const mib = 1 << 20
	for _, off := range []int64{2 * mib, 8 * mib} {
		if _, err := f.WriteAt(bytes.Repeat([]byte("x"), mib), off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(20 * mib); err != nil {
		t.Fatal(err)
	}
	if allocated(t, f) > 4*mib {
		need.Skip(t, "the file system has no holes")
	}
	for _, test := range []struct{ off, start, end int64 }{
		{0, 2 * mib, 3 * mib}, {2*mib + 5, 2*mib + 5, 3 * mib}, {3 * mib, 8 * mib, 9 * mib}, {9 * mib, 20 * mib, 20 * mib},
	} {
		start, end, err := NextData(f, test.off, 20*mib)
		if err != nil || start != test.start || end != test.end {
			t.Errorf("the data after %d: got %d to %d, %v; want %d to %d", test.off, start, end, err, test.start, test.end)
		}
	}
}

func TestCopy(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		from, to := open(t, "from"), open(t, "to")
		for range r.IntN(6) {
			b := make([]byte, 1+r.IntN(100_000))
			if r.IntN(3) > 0 {
				for i := range b {
					b[i] = byte(r.Uint32())
				}
			}
			if _, err := from.WriteAt(b, r.Int64N(4<<20)); err != nil {
				t.Fatal(err)
			}
		}
		if err := from.Truncate(r.Int64N(8 << 20)); err != nil {
			t.Fatal(err)
		}
		var err error
		if seed%2 == 0 {
			err = Copy(to, from)
		} else if _, err = from.Seek(0, io.SeekStart); err == nil {
			_, err = CopyFrom(to, iotest.HalfReader(from))
		}
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(from.Name())
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(to.Name())
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("seed %d: the copy of %d bytes has %d, %v, or other contents", seed, len(want), len(got), err)
		}
		if a, b := allocated(t, to), allocated(t, from); a > b {
			t.Errorf("seed %d: the copy takes %d bytes on disk, more than the %d of the file", seed, a, b)
		}
	}
}
