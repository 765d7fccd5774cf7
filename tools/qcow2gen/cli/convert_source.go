package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
	"github.com/rules-qcow2/rules_qcow2/internal/sparse"
	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/tempfile"
)

// A source is the disk that convert reads.
type source struct {
	*qcow2.Disk
	name  string // for messages
	files []sourceFile
	spool *os.File // contents of the standard input, or nil
}

// A sourceFile is the state of a file before it was read.
type sourceFile struct {
	path string
	size int64
	time time.Time
}

func (s *source) Close() error {
	if s.spool != nil {
		s.spool.Close()
	}
	return s.Disk.Close()
}

// openSource opens the source. stdin is nil if it cannot be read.
func (c *convertArgs) openSource(stdin io.Reader) (*source, error) {
	if c.source == "-" {
		return c.openInput(stdin)
	}
	path, err := filePath(c.source)
	if err != nil {
		return nil, err
	}
	if err := c.checkSource(path); err != nil {
		return nil, err
	}
	var opts []*qcow2.OpenOption
	if c.snapshot != "" {
		id, err := c.snapshotID(path)
		if err != nil {
			return nil, err
		}
		opts = append(opts, qcow2.OpenWithSnapshot(id))
	}
	disk, err := openDisk(c.source, c.sourceFormat, opts...)
	if err != nil {
		return nil, err
	}
	s := &source{Disk: disk, name: c.source}
	if c.shared {
		return s, nil
	}
	for _, path := range s.inputs() {
		if err := s.watch(path); err != nil {
			disk.Close()
			return nil, err
		}
	}
	return s, nil
}

// checkSource refuses a source that needs other files, or that is plainly not a
// disk, if the command line says so.
func (c *convertArgs) checkSource(path string) error {
	if !c.standaloneSource {
		return nil
	}
	if c.sourceFormat == "" {
		var err error
		if c.sourceFormat, err = detectFormat(path, `use -f raw, in Bazel a qcow2_overlay on it with backing_format = "raw"`); err != nil {
			return err
		}
	}
	layer, err := qcow2.InspectLayer(path, c.sourceFormat)
	if err != nil {
		return errors.New(layerReason(err))
	}
	return checkStandalone(layer)
}

// snapshotID returns the ID or the name of the snapshot to read. As in qemu-img,
// -l is either of them, or snapshot.id=… or snapshot.name=….
func (c *convertArgs) snapshotID(path string) (string, error) {
	field, value, found := strings.Cut(c.snapshot, "=")
	if !found || field != "snapshot.id" && field != "snapshot.name" {
		return c.snapshot, nil
	}
	layer, err := qcow2.InspectLayer(path, c.sourceFormat)
	if err != nil {
		return "", errors.New(layerReason(err))
	}
	if layer.Image != nil {
		for _, s := range layer.Image.Snapshots {
			if field == "snapshot.id" && s.ID == value || field == "snapshot.name" && s.Name == value {
				return s.ID, nil
			}
		}
	}
	return "", fmt.Errorf("%s: snapshot with %s is not in the image", path, c.snapshot)
}

// watch remembers the state of a file. QEMU must not have it open for writing.
func (s *source) watch(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %s", path, reason(err))
	}
	defer f.Close()
	if beingWritten(f) {
		return fmt.Errorf("%s: QEMU has it open for writing, so it can change while it is read; close it or use -U", path)
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%s: %s", path, reason(err))
	}
	if info.Mode().IsRegular() {
		s.files = append(s.files, sourceFile{path, info.Size(), info.ModTime()})
	}
	return nil
}

// checkUnchanged returns an error if a file has changed since it was opened.
func (s *source) checkUnchanged() error {
	for _, f := range s.files {
		info, err := os.Stat(f.path)
		if err != nil {
			return fmt.Errorf("%s: %s", f.path, reason(err))
		}
		if info.Size() != f.size || !info.ModTime().Equal(f.time) {
			return fmt.Errorf("%s: it has changed while it was read; convert it when nothing writes to it, or use -U", f.path)
		}
	}
	return nil
}

// openInput copies the standard input to a temporary file next to the target: the
// length of the disk must be known before its contents are written.
func (c *convertArgs) openInput(stdin io.Reader) (*source, error) {
	switch {
	case stdin == nil:
		return nil, errors.New("standard input: it is not available here; use the name of a file")
	case c.sourceFormat != qcow2.FormatRaw:
		return nil, errors.New("standard input: only raw images can be read from it; add -f raw, or use the name of a file")
	case c.snapshot != "":
		return nil, errors.New("standard input: a raw image does not have snapshots; omit -l")
	}
	spool, err := createAnonymous(directory(c.target.path))
	if err != nil {
		return nil, fmt.Errorf("standard input: a temporary file is needed: %s", reason(err))
	}
	size, err := sparse.CopyFrom(spool, stdin)
	if err != nil {
		spool.Close()
		return nil, fmt.Errorf("standard input: %s", reason(err))
	}
	disk, err := qcow2.Open(spool, size, qcow2.OpenWithFormat(qcow2.FormatRaw))
	if err != nil {
		spool.Close()
		return nil, fmt.Errorf("standard input: %s", reason(err))
	}
	return &source{Disk: disk, name: "standard input", spool: spool}, nil
}

// createAnonymous creates a file in dir that does not have a name any more.
func createAnonymous(dir string) (*os.File, error) {
	f, name, err := createTemporary(dir, 0o600)
	if name != "" {
		tempfile.Remove(name)
	}
	return f, err
}

// inputs returns the files of the source.
func (s *source) inputs() []string {
	var paths []string
	for _, layer := range s.Layers() {
		if layer.Path != "" {
			paths = append(paths, layer.Path)
		}
		if layer.Image != nil && layer.Image.HasDataFile() {
			paths = append(paths, qcow2.ResolveDataFile(layer.Path, layer.Image.DataFile))
		}
	}
	return paths
}
