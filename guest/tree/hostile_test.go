package tree

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stream builds what a hostile guest may send.
type stream struct{ bytes.Buffer }

func (s *stream) add(kind byte, name, target string) *stream {
	e := encoder{w: s}
	e.entry(entry{kind: kind, name: name, target: target, perm: 0o755, mtime: time.Unix(0, 0)})
	if kind == kindFile {
		e.data(0, append(make([]byte, dataHeader), "owned"...))
		e.end(5)
	}
	return s
}

func (s *stream) up() *stream {
	s.WriteByte(kindUp)
	return s
}

// top begins a directory.
func top() *stream { return new(stream).add(kindDir, "", "") }

func (s *stream) data(offset uint64, length uint32) *stream {
	s.WriteByte(kindData)
	s.Write(binary.BigEndian.AppendUint64(nil, offset))
	s.Write(binary.BigEndian.AppendUint32(nil, length))
	return s
}

func TestHostile(t *testing.T) {
	file := func() *stream { // without its data
		s := top().add(kindFile, "f", "")
		s.Truncate(s.Len() - (dataHeader + 5) - 9)
		return s
	}
	deep := top()
	for range maxDepth {
		deep.add(kindDir, "d", "")
	}
	many := top()
	for range 11 {
		many.add(kindFile, "f", "")
	}
	overlap := file().data(100, 1)
	overlap.WriteByte('x')
	overlap.data(100, 1)
	special := top().add(kindFile, "f", "")
	binary.BigEndian.PutUint32(special.Bytes()[3:], 0o100644)
	for _, test := range []struct {
		name   string
		stream *stream
		want   string
	}{
		{"empty", new(stream), "unexpected EOF"},
		{"name at the top", new(stream).add(kindFile, "x", ""), `begins with "x"`},
		{"link at the top", new(stream).add(kindLink, "", "x"), "begins with"},
		{"dot dot", top().add(kindFile, "..", ""), `".." is not the name`},
		{"dot", top().add(kindDir, ".", ""), `"." is not the name`},
		{"no name", top().add(kindDir, "", ""), `"" is not the name`},
		{"path", top().add(kindFile, "../outside/f", ""), `"../outside/f" is not the name`},
		{"absolute path", top().add(kindFile, "/tmp/f", ""), `"/tmp/f" is not the name`},
		{"zero byte", top().add(kindFile, "a\x00b", ""), "is not the name"},
		{"long name", top().add(kindFile, strings.Repeat("x", 256), ""), "256 bytes"},
		{"long target", top().add(kindSymlink, "l", strings.Repeat("x", 5000)), "5000 bytes"},
		{"through a symbolic link", top().add(kindSymlink, "l", "../outside").add(kindDir, "l", "").add(kindFile, "f", ""), "l exists and is not a directory"},
		{"through an absolute link", top().add(kindSymlink, "l", "/tmp").add(kindDir, "l", "").add(kindFile, "f", ""), "l exists and is not a directory"},
		{"through the host's own link", top().add(kindDir, "own", "").add(kindFile, "f", ""), "own exists and is not a directory"},
		{"hard link outside", top().add(kindLink, "h", "../outside/secret"), `".." is not the name`},
		{"hard link through a symbolic link", top().add(kindSymlink, "l", "../outside").add(kindLink, "h", "l/secret"), "not a file of the copy"},
		{"hard link to a symbolic link", top().add(kindSymlink, "l", "../outside/secret").add(kindLink, "h", "l"), "not a file of the copy"},
		{"hard link to a directory", top().add(kindDir, "d", "").up().add(kindLink, "h", "d"), "not a file of the copy"},
		{"hard link to nothing", top().add(kindLink, "h", "x"), "no such file"},
		{"device", top().add(kindBlock, "b", ""), "b is a device file"},
		{"unknown record", top().add('?', "b", ""), "unknown record '?'"},
		{"unknown record in a file", file().add(kindFile, "x", ""), "in a file"},
		{"file in place of a full directory", top().add(kindFile, "full", ""), "is a directory, and the copy is not"},
		{"more than its end", top().up().up(), "continues after its end"},
		{"too deep", deep, "more than 256 directories"},
		{"too many", many, "more than 10 files"},
		{"not permissions", special, "permissions 0100644"},
		{"too many bytes", file().data(0, 1001), "more than 1000 bytes"},
		{"long data", file().data(0, maxSegment+1), "data of 1048577 bytes"},
		{"no data", file().data(0, 0), "data of 0 bytes"},
		{"less data than announced", file().data(0, 1000), "unexpected EOF"},
		{"offset", file().data(1<<63, 1), "offset 9223372036854775808"},
		{"overlap", overlap, "offset 100 after data up to 101"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			shell(t, dir, "mkdir -p outside dst/full; echo secret >outside/secret; touch dst/full/x; ln -s ../outside dst/own")
			before := shell(t, dir, "find outside -printf '%p %s %n %T@\n'; cat outside/*")
			limits := UnpackOptions{MaxEntries: 10, MaxBytes: 1000}
			if test.stream == deep {
				limits.MaxEntries = 0
			}
			err := Unpack(&test.stream.Buffer, filepath.Join(dir, "dst"), limits)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if after := shell(t, dir, "find outside -printf '%p %s %n %T@\n'; cat outside/*"); after != before {
				t.Errorf("outside changed:\n%s", after)
			}
		})
	}
}

// FuzzUnpack writes whatever a stream says, and looks for it outside.
func FuzzUnpack(f *testing.F) {
	f.Add(top().add(kindFile, "f", "").add(kindLink, "h", "f").add(kindSymlink, "l", "../x").add(kindFIFO, "p", "").add(kindDir, "d", "").up().up().Bytes())
	f.Add(top().add(kindSymlink, "l", "..").add(kindDir, "l", "").add(kindFile, "f", "").Bytes())
	f.Add(new(stream).add(kindFile, "", "").Bytes())
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		dst := filepath.Join(dir, "dst")
		Unpack(bytes.NewReader(b), dst, UnpackOptions{MaxBytes: 1 << 20, MaxEntries: 100})
		filepath.WalkDir(dst, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				os.Chmod(path, 0o700)
			}
			return nil
		})
		if err := os.RemoveAll(dst); err != nil {
			t.Fatal(err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Fatalf("outside: %v", left)
		}
	})
}
