package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// TestRAM packs and unpacks RAM with pages of every kind.
func TestRAM(t *testing.T) {
	const size, pages = 64 << 20, 2000
	dir := t.TempDir()
	ram, packed, unpacked := filepath.Join(dir, "ram"), filepath.Join(dir, "ram.qcow2"), filepath.Join(dir, "unpacked")
	file, err := os.Create(ram)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, ramClusterSize)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	for i := range pages {
		page := make([]byte, ramClusterSize)
		switch i % 4 {
		case 0: // zeros that are not a hole
		case 1: // does not become smaller
			copy(page, random)
			page[0] = byte(i)
		case 2:
			copy(page, strings.Repeat("text ", 500))
		case 3: // has a match from its end to its begin
			copy(page, random[:1000])
			copy(page[ramClusterSize-1000:], random[:1000])
		}
		if _, err := file.WriteAt(page, r.Int64N(size/ramClusterSize)*ramClusterSize); err != nil {
			t.Fatal(err)
		}
	}
	if err := packRAM(packed, ram); err != nil {
		t.Fatal(err)
	}
	qemuimg.Must(t, "", "check", packed)
	qemuimg.Must(t, "", "compare", "-f", "raw", "-F", "qcow2", ram, packed)
	if info, err := os.Stat(packed); err != nil || info.Size() > pages*ramClusterSize/2 {
		t.Errorf("the image of %d pages has %d bytes, %v", pages, info.Size(), err)
	}
	if err := unpackRAM(unpacked, packed); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(ram)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(unpacked); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the unpacked RAM has %d bytes and other contents, %v", len(got), err)
	}
}

// TestUnpackFails checks that nothing is left of RAM that cannot be unpacked.
func TestUnpackFails(t *testing.T) {
	dir := t.TempDir()
	ram, packed, unpacked := filepath.Join(dir, "ram"), filepath.Join(dir, "ram.qcow2"), filepath.Join(dir, "unpacked")
	if err := os.WriteFile(ram, bytes.Repeat([]byte("memory"), 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := packRAM(packed, ram); err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(packed)
	if err != nil {
		t.Fatal(err)
	}
	for words, image := range map[string][]byte{
		"compressed cluster at offset": image[:len(image)-len(image)/4],
		"not a qcow2 image":            []byte("ram"),
	} {
		if err := os.WriteFile(packed, image, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := runTarget("vmboot", []string{"unpack-for-build", packed, unpacked})
		if err == nil || !strings.Contains(err.Error(), packed+": "+words) {
			t.Errorf("got the error %v, want %s: %s", err, packed, words)
		}
		if exists(unpacked) {
			t.Errorf("%s: the output was left", words)
		}
	}
}
