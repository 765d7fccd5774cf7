package qcow2_test

import (
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// TestCheckDamage damages one structure at a time, one for each rule of Check.
func TestCheckDamage(t *testing.T) {
	const copied, compressed = 1 << 63, 1 << 62
	for _, image := range []struct {
		options  string
		commands []string
		snapshot bool
		damage   map[string]func(d *damaged)
	}{
		{"cluster_size=4096", []string{"write 0 64k", "write -c 64k 8k", "write -z 128k 4k"}, false, map[string]func(d *damaged){
			"none":                         func(d *damaged) {},
			"L1 entry reserved":            func(d *damaged) { d.change(d.l1, 1) },
			"L1 entry without an offset":   func(d *damaged) { d.set8(d.l1+8, copied) },
			"L1 entry not copied":          func(d *damaged) { d.change(d.l1, copied) },
			"L1 entries share an L2 table": func(d *damaged) { d.set8(d.l1+8, d.get8(d.l1)) },
			"L2 table in the middle":       func(d *damaged) { d.set8(d.l1, d.get8(d.l1)+512) },
			"L2 table beyond the end":      func(d *damaged) { d.set8(d.l1, 1<<40|copied) },
			"L2 table is the header":       func(d *damaged) { d.set8(d.l1, 1) },
			"L2 entry reserved":            func(d *damaged) { d.change(d.l2, 2) },
			"L2 entry reserved, zero":      func(d *damaged) { d.set8(d.l2+8*100, 1|1<<57) },
			"L2 entry not copied":          func(d *damaged) { d.change(d.l2, copied) },
			"zero cluster not copied":      func(d *damaged) { d.set8(d.l2, d.get8(d.l2)&^copied|1) },
			"L2 entries share a cluster":   func(d *damaged) { d.set8(d.l2, d.get8(d.l2+8)) },
			"cluster in the middle":        func(d *damaged) { d.set8(d.l2, d.get8(d.l2)+512) },
			"cluster beyond the end":       func(d *damaged) { d.set8(d.l2, 1<<40|copied) },
			"cluster at the end":           func(d *damaged) { d.set8(d.l2, uint64(len(d.image))|copied) },
			"cluster half beyond the end":  func(d *damaged) { d.set8(d.l2, uint64(len(d.image)-512)|copied) },
			"cluster is the L1 table":      func(d *damaged) { d.set8(d.l2, uint64(d.l1)|copied) },
			"compressed, copied":           func(d *damaged) { d.change(d.l2+8*16, copied) },
			"compressed, beyond the end":   func(d *damaged) { d.change(d.l2+8*16, 1<<50) },
			"compressed, all of the file":  func(d *damaged) { d.set8(d.l2+8*16, compressed|15<<58|uint64(len(d.image)-4096*2)) },
			"refcount table reserved":      func(d *damaged) { d.change(d.refcountTable, 1) },
			"refcount block in the middle": func(d *damaged) { d.change(d.refcountTable, 512) },
			"refcount block beyond":        func(d *damaged) { d.set8(d.refcountTable+8, 1<<40) },
			"refcount block at 2^63":       func(d *damaged) { d.set8(d.refcountTable+8, 1<<63) },
			"refcount block twice":         func(d *damaged) { d.set8(d.refcountTable+8, d.get8(d.refcountTable)) },
			"refcount block is a cluster":  func(d *damaged) { d.set8(d.refcountTable, d.get8(d.l2)&^copied) },
			"no refcount block":            func(d *damaged) { d.set8(d.refcountTable, 0) },
			"no refcount table":            func(d *damaged) { d.set4(56, 0) },
			"refcount table at the end":    func(d *damaged) { d.set8(48, uint64(len(d.image)+4096)) },
			"refcount too large":           func(d *damaged) { d.image[d.refcountBlock+1]++ },
			"refcount too small":           func(d *damaged) { d.image[d.refcountBlock+1] = 0 },
			"refcount behind the end":      func(d *damaged) { d.image[d.refcountBlock+4095] = 1 },
			"L1 table at the end":          func(d *damaged) { d.set8(40, uint64(len(d.image)+4095)&^4095) },
			"file cut off":                 func(d *damaged) { d.image = d.image[:len(d.image)-5000] },
			"file longer":                  func(d *damaged) { d.image = append(d.image, make([]byte, 100000)...) },
		}},
		{"cluster_size=4096,refcount_bits=1", []string{"write 0 64k"}, false, map[string]func(d *damaged){
			"none":                          func(d *damaged) {},
			"L2 entries share a cluster":    func(d *damaged) { d.set8(d.l2, d.get8(d.l2+8)) },
			"refcount block is a cluster":   func(d *damaged) { d.set8(d.l2, uint64(d.refcountBlock)|copied) },
			"not copied without a refcount": func(d *damaged) { d.image[d.refcountBlock] = 0x7f },
		}},
		{"cluster_size=16k,extended_l2=on", []string{"write 0 64k", "write -c 64k 16k", "write 80k 512"}, false, map[string]func(d *damaged){
			"none":                    func(d *damaged) {},
			"allocated and zero":      func(d *damaged) { d.set8(d.l2+8, 1<<32|1) },
			"zero":                    func(d *damaged) { d.set8(d.l2+8, 1<<32) },
			"unallocated, allocated":  func(d *damaged) { d.set8(d.l2, 0) },
			"unallocated, zero":       func(d *damaged) { d.set8(d.l2, 0); d.set8(d.l2+8, 1<<32) },
			"compressed, subclusters": func(d *damaged) { d.set8(d.l2+16*4+8, 1) },
			"zero flag":               func(d *damaged) { d.change(d.l2, 1) },
			"zero flag alone":         func(d *damaged) { d.set8(d.l2, 1) },
		}},
		{"cluster_size=4096,data_file=data", []string{"write 0 64k"}, false, map[string]func(d *damaged){
			"none":                 func(d *damaged) {},
			"not copied":           func(d *damaged) { d.change(d.l2+8, copied) },
			"first not copied":     func(d *damaged) { d.change(d.l2, copied) },
			"compressed":           func(d *damaged) { d.set8(d.l2, compressed|4096) },
			"beyond the end":       func(d *damaged) { d.set8(d.l2+8, 1<<40|copied) },
			"cluster in no order":  func(d *damaged) { d.set8(d.l2+8, 4096*7|copied) },
			"with a snapshot":      func(d *damaged) { d.set4(60, 1); d.set8(64, d.get8(d.l2+8)&^copied) },
			"first without a flag": func(d *damaged) { d.set8(d.l2, 0) },
		}},
		{"cluster_size=4096", []string{"write 0 64k"}, true, map[string]func(d *damaged){
			"none":                    func(d *damaged) {},
			"copied":                  func(d *damaged) { d.change(d.l2, copied) },
			"L1 table in the middle":  func(d *damaged) { d.change(d.snapshots, 512) },
			"L1 table beyond the end": func(d *damaged) { d.set8(d.snapshots, 1<<40) },
			"L1 table beyond files":   func(d *damaged) { d.set8(d.snapshots, 1<<63-4096) },
			"L1 table is the active":  func(d *damaged) { d.set8(d.snapshots, uint64(d.l1)) },
			"L1 table too large":      func(d *damaged) { d.set4(d.snapshots+8, 1<<23) },
			"no L1 table":             func(d *damaged) { d.set4(d.snapshots+8, 0) },
			"little extra data":       func(d *damaged) { d.set4(d.snapshots+36, 8) },
			"name beyond the end":     func(d *damaged) { d.set4(d.snapshots+12, 1<<16-1) },
			"two":                     func(d *damaged) { d.set4(60, 2) },
			"none any more":           func(d *damaged) { d.set4(60, 0) },
			"none, offset odd":        func(d *damaged) { d.set4(60, 0); d.set8(64, 4097) },
			"table beyond the end":    func(d *damaged) { d.set8(64, 1<<40) },
			"table at the end":        func(d *damaged) { d.set8(64, uint64(len(d.image)+4095)&^4095) },
		}},
	} {
		dir := t.TempDir()
		qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-o", image.options, "image", "4M")
		if r := qemuimg.IO(t, dir, "image", image.commands...); r.Code != 0 {
			t.Fatal(r.Stdout, r.Stderr)
		}
		if image.snapshot {
			qemuimg.Must(t, dir, "snapshot", "-c", "s", "image")
		}
		for name, damage := range image.damage {
			t.Run(image.options+"/"+name, func(t *testing.T) {
				t.Parallel()
				d := newDamaged(readFile(t, dir, "image"))
				damage(d)
				compareVerdict(t, dir, d.image, []string{name})
			})
		}
	}
}

// damaged is an image and the offsets of its structures.
type damaged struct {
	corruptor
	l1, l2, refcountTable, refcountBlock, snapshots int
}

func newDamaged(image []byte) *damaged {
	const offset = 0x00fffffffffffe00
	d := &damaged{corruptor: corruptor{image: image}}
	d.l1 = int(d.get8(40))
	d.l2 = int(d.get8(d.l1) & offset)
	d.refcountTable = int(d.get8(48))
	d.refcountBlock = int(d.get8(d.refcountTable))
	d.snapshots = int(d.get8(64))
	return d
}

func (d *damaged) get8(offset int) uint64         { return d.get(field{offset, 8}) }
func (d *damaged) set8(offset int, value uint64)  { d.set(field{offset, 8}, value) }
func (d *damaged) set4(offset int, value uint64)  { d.set(field{offset, 4}, value) }
func (d *damaged) change(offset int, bits uint64) { d.set8(offset, d.get8(offset)^bits) }
