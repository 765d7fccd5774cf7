package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuscript"
)

// TestCheckRandomDamage damages images that QEMU has made by random scripts,
// and compares the verdicts on them. See qemuscript.Seeds for a long run.
func TestCheckRandomDamage(t *testing.T) {
	qemuscript.Seeds(t, 10, func(t *testing.T, seed uint64) {
		s := newScript(t, seed, t.TempDir(), "image")
		for range 5 {
			s.step(t)
		}
		whole := readFile(t, s.dir, s.name)
		for n := range 20 {
			c := corruptor{Rand: rand.New(rand.NewPCG(seed, uint64(n))), image: bytes.Clone(whole)}
			c.findFields()
			for range 1 + c.IntN(3) {
				c.damage()
			}
			compareVerdict(t, s.dir, c.image, c.log)
		}
	})
}

// corruptor damages fields of an image.
type corruptor struct {
	*rand.Rand
	image  []byte
	fields map[string][]field
	// kinds are the keys of fields, in a fixed order.
	kinds []string
	log   []string
}

// field is a number in an image.
type field struct {
	offset int // in the image
	bytes  int
}

func (c *corruptor) get(f field) uint64 {
	var b [8]byte
	copy(b[8-f.bytes:], c.image[f.offset:f.offset+f.bytes])
	return binary.BigEndian.Uint64(b[:])
}

func (c *corruptor) set(f field, value uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], value)
	copy(c.image[f.offset:f.offset+f.bytes], b[8-f.bytes:])
}

// findFields finds the fields of an undamaged image.
func (c *corruptor) findFields() {
	c.fields = map[string][]field{}
	for _, f := range []struct{ name, offset, bytes any }{
		{"size", 24, 8}, {"l1_size", 36, 4}, {"l1_table_offset", 40, 8}, {"refcount_table_offset", 48, 8},
		{"refcount_table_clusters", 56, 4}, {"nb_snapshots", 60, 4}, {"snapshots_offset", 64, 8},
		{"incompatible_features", 72, 8}, {"autoclear_features", 88, 8}, {"refcount_order", 96, 4},
	} {
		if f.offset.(int) < 72 || c.image[7] == 3 {
			c.add(f.name.(string), f.offset.(int), f.bytes.(int))
		}
	}
	h, err := qcow2.Inspect(bytes.NewReader(c.image), int64(len(c.image)))
	if err != nil {
		panic(err)
	}
	clusterSize := int(h.ClusterSize())
	c.addL1(h, int(h.Header.L1TableOffset), int(h.Header.L1Size), "active ")
	for _, s := range h.Snapshots {
		c.addL1(h, int(s.L1TableOffset), int(s.L1Size), "snapshot's ")
	}
	if h.Header.NbSnapshots > 0 {
		offset := int(h.Header.SnapshotsOffset)
		for _, f := range []field{{0, 8}, {8, 4}, {12, 2}, {14, 2}, {32, 4}, {36, 4}} {
			c.add("snapshot table", offset+f.offset, f.bytes)
		}
	}
	table := int(h.Header.RefcountTableOffset)
	for i := range int(h.Header.RefcountTableClusters) * clusterSize / 8 {
		block := c.add("refcount table", table+8*i, 8)
		if i > 3 && block == 0 {
			break
		}
		if block != 0 {
			for range 20 {
				c.add("refcount block", int(block)+c.IntN(clusterSize/8)*8, 8)
				// Most clusters in use are near the start.
				c.add("refcount block", int(block)+c.IntN(64), 1)
			}
		}
	}
	if i := bytes.Index(c.image[:clusterSize], []byte{0x23, 0x85, 0x28, 0x75}); i > 0 {
		for offset := 0; offset < 32; offset += 4 {
			c.add("bitmaps extension", i+offset, 4)
		}
		directory := int(c.get(field{i + 24, 8}))
		if directory+24 < len(c.image) {
			for offset := 0; offset < 24; offset += 4 {
				c.add("bitmap directory", directory+offset, 4)
			}
			for i := range 4 {
				c.add("bitmap table", int(c.get(field{directory, 8}))+8*i, 8)
			}
		}
	}
}

// add adds a field and returns its value. It leaves out fields after the end of
// the file.
func (c *corruptor) add(kind string, offset, bytes int) uint64 {
	if offset < 0 || offset > len(c.image)-bytes {
		return 0
	}
	if c.fields[kind] == nil {
		c.kinds = append(c.kinds, kind)
	}
	f := field{offset, bytes}
	c.fields[kind] = append(c.fields[kind], f)
	return c.get(f)
}

func (c *corruptor) addL1(h *qcow2.Image, offset, size int, whose string) {
	const mask = 0x00fffffffffffe00
	for i := range size {
		l2 := c.add(whose+"L1 table", offset+8*i, 8) & mask
		if l2 == 0 || len(c.fields[whose+"L2 table"]) > 500 {
			continue
		}
		for j := 0; j < int(h.ClusterSize()); j += 8 {
			// Most entries are empty. Damage to any of them has the same
			// effect.
			if entry := (field{int(l2) + j, 8}); entry.offset+8 <= len(c.image) && (c.get(entry) != 0 || j < 32) {
				c.add(whose+"L2 table", entry.offset, 8)
			}
		}
	}
}

// damage changes one field, or the length of the file.
func (c *corruptor) damage() {
	if c.IntN(20) == 0 {
		length := c.IntN(len(c.image))
		c.log = append(c.log, fmt.Sprintf("file of %d bytes cut off at %d", len(c.image), length))
		c.image = c.image[:max(length, 512)]
		return
	}
	kind := c.kinds[c.IntN(len(c.kinds))]
	f := c.fields[kind][c.IntN(len(c.fields[kind]))]
	if f.offset+f.bytes > len(c.image) {
		return // cut off
	}
	old := c.get(f)
	value := c.value(old, 8*f.bytes)
	if kind == "l1_size" && value > 1000 && !long() {
		return // QEMU takes long over the data that is then an L1 table
	}
	c.set(f, value)
	c.log = append(c.log, fmt.Sprintf("%s at %d: %#x is now %#x", kind, f.offset, old, c.get(f)))
}

func (c *corruptor) value(old uint64, bits int) uint64 {
	clusterSize := uint64(1) << c.image[23]
	switch c.IntN(12) {
	default:
		return old ^ 1<<c.IntN(bits)
	case 0:
		return 0
	case 1:
		return 1<<bits - 1
	case 2:
		return old + 1
	case 3:
		return old - 1
	case 4:
		return old + clusterSize
	case 5:
		return old + 512
	case 6:
		return c.Uint64()
	case 7:
		return c.Uint64N(uint64(len(c.image)))/clusterSize*clusterSize | old&(3<<62)
	case 8:
		return c.Uint64N(2*uint64(len(c.image)))/clusterSize*clusterSize | c.Uint64N(4)<<62 | c.Uint64N(2)
	}
}

// compareVerdict compares Check with qemu-img check on a damaged image, and
// returns the exit code of qemu-img check.
//
// The counts must be the same, with one exception. An L2 table at an offset
// that is not a multiple of the cluster size is corrupt, but QEMU still reads
// it. Its counts then mean nothing, and it is enough that both call the image
// corrupt.
func compareVerdict(t *testing.T, dir string, image []byte, log []string) int {
	t.Helper()
	f, err := os.CreateTemp(dir, "damaged")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(image); err != nil {
		t.Fatal(err)
	}
	// Check does not open the backing file, so qemu-img must not either. The
	// name of the data file must not matter.
	const node = `json:{"driver":"qcow2","backing":null,"file":{"driver":"file","filename":%q}%s}`
	dataFile := ""
	if h, err := qcow2.Inspect(bytes.NewReader(image), int64(len(image))); err == nil && h.HasDataFile() {
		dataFile = fmt.Sprintf(`,"data-file":{"driver":"file","filename":%q}`, f.Name())
	}
	theirs := qemuimg.Run(t, dir, "check", "--output=json", fmt.Sprintf(node, f.Name(), dataFile))
	ours, err := qcow2.Check(bytes.NewReader(image), int64(len(image)))

	var report bytes.Buffer
	fmt.Fprintf(&report, "damage: %q\nqemu-img check exits with %d: %s%s", log, theirs.Code, theirs.Stdout, theirs.Stderr)
	if err != nil {
		fmt.Fprintf(&report, "Check: %v\n", err)
	} else {
		fmt.Fprintf(&report, "Check: %v\n%q\n", checkJSON(t, ours), ours.Problems)
	}
	if theirs.Code > 3 {
		t.Logf("no verdict of qemu-img\n%s", report.Bytes())
		return theirs.Code
	}
	if got := verdict(ours, err); got != theirs.Code {
		keep := filepath.Join(os.TempDir(), filepath.Base(f.Name()))
		writeFile(t, keep, image)
		t.Fatalf("%s: verdict is %d\n%s", keep, got, report.Bytes())
	}
	if err != nil || theirs.Stdout == "" || hasUnalignedL2Table(ours) {
		return theirs.Code
	}
	if got, want := checkJSON(t, ours), checkKeys(qemuJSON(t, theirs.Stdout)); !reflect.DeepEqual(got, want) {
		keep := filepath.Join(os.TempDir(), filepath.Base(f.Name()))
		writeFile(t, keep, image)
		t.Fatalf("%s: counts differ\n%s", keep, report.Bytes())
	}
	return theirs.Code
}

// verdict is qemu-img's exit code for a result of Check.
func verdict(result *qcow2.CheckResult, err error) int {
	switch {
	case err != nil || result.CheckErrors > 0:
		return 1
	case result.Corruptions > 0:
		return 2
	case result.Leaks > 0:
		return 3
	}
	return 0
}

func hasUnalignedL2Table(result *qcow2.CheckResult) bool {
	for _, problem := range result.Problems {
		if bytes.Contains([]byte(problem), []byte("ERROR L2 table offset")) {
			return true
		}
	}
	return false
}
