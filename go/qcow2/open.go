package qcow2

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// A Disk is the virtual disk of an image, as a guest sees it, read through the
// whole backing chain. Several goroutines may use it at the same time.
//
// A Disk does not read reference counts, so a dirty or leaking image reads like
// any other; use Check for those. Its memory does not depend on the size of the
// image.
type Disk struct {
	layers []*layer // the top layer first
	size   int64    // virtual size in bytes, whole sectors
	files  []*os.File

	tables   *cache // parts of L1 and L2 tables
	clusters *cache // the contents of compressed clusters
}

// An OpenOption is one parameter of Open and OpenChain. Each may be given
// once.
type OpenOption struct {
	name  string // of the function which made the option, for messages
	apply func(*openParams)
}

type openParams struct {
	format   string
	root     string
	snapshot string

	hasFormat, hasRoot, hasSnapshot bool
}

// OpenWithFormat sets the format of the top layer: FormatRaw, FormatFile or
// FormatQCOW2. By default, OpenChain probes the first bytes, and Open expects qcow2. Set the
// format if you know it: a guest that can write to a raw disk decides what its
// first bytes show.
func OpenWithFormat(format string) *OpenOption {
	return &OpenOption{"OpenWithFormat", func(p *openParams) { p.format, p.hasFormat = format, true }}
}

// OpenWithRoot makes OpenChain refuse every file that is not below the
// directory dir: path itself, a backing file name, or the target of a symbolic
// link. Paths are compared as text, so a path that leaves dir and comes back is
// refused, too.
func OpenWithRoot(dir string) *OpenOption {
	return &OpenOption{"OpenWithRoot", func(p *openParams) { p.root, p.hasRoot = dir, true }}
}

// OpenWithSnapshot opens the disk in the state of the internal snapshot with
// that ID or name. Like qemu-img, it looks for an ID first. The backing chain
// is the present one.
func OpenWithSnapshot(idOrName string) *OpenOption {
	return &OpenOption{"OpenWithSnapshot", func(p *openParams) { p.snapshot, p.hasSnapshot = idOrName, true }}
}

func collectOpen(opts []*OpenOption) (*openParams, error) {
	p := &openParams{}
	seen := map[string]bool{}
	for _, opt := range opts {
		if opt == nil || opt.apply == nil {
			return nil, errors.New("qcow2: option is nil, use one of the OpenWith functions")
		}
		if seen[opt.name] {
			return nil, fmt.Errorf("qcow2: %s is given twice, each option is allowed once", opt.name)
		}
		seen[opt.name] = true
		opt.apply(p)
	}
	return p, nil
}

// Open opens one image in r, which is size bytes long. It does not open the
// backing file: clusters that the image does not contain read as zeros. It
// refuses encrypted images and images with an external data file. Several
// goroutines may read the disk at the same time if r allows that.
func Open(r io.ReaderAt, size int64, opts ...*OpenOption) (*Disk, error) {
	p, err := collectOpen(opts)
	if err != nil {
		return nil, err
	}
	if p.hasRoot {
		return nil, errors.New("qcow2: OpenWithRoot is given to Open, which opens no files; use OpenChain")
	}
	if size < 0 {
		return nil, fmt.Errorf("qcow2: the size %d of the image must not be negative", size)
	}
	if !p.hasFormat {
		p.format = FormatQCOW2
	}
	info := Layer{Format: p.format, FileSize: size}
	if info.VirtualSize, info.Image, err = inspectDisk(r, size, p.format); err != nil {
		return nil, fmt.Errorf("qcow2: %w", err)
	}
	if info.Image != nil && info.Image.HasDataFile() {
		return nil, fmt.Errorf("qcow2: guest data is in the external data file %q, which Open does not follow; use OpenChain", info.Image.DataFile)
	}
	d := newDisk()
	if err := d.addLayer(info, &file{r: r, size: size}, nil); err != nil {
		return nil, err
	}
	return d, d.finish(p)
}

// OpenChain opens the image at path with its whole backing chain of raw and
// qcow2 layers, down to the layer without a backing file. Names are relative to
// the layer that records them. OpenChain refuses encrypted images and all that
// InspectChain refuses. Close closes the files.
func OpenChain(path string, opts ...*OpenOption) (*Disk, error) {
	p, err := collectOpen(opts)
	if err != nil {
		return nil, err
	}
	open := openLayer
	if p.hasRoot {
		root, err := newLayerRoot(p.root)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		open = root.open
	}
	d := newDisk()
	err = walkChain(path, p.format, open, func(info Layer, f *os.File) error {
		d.files = append(d.files, f)
		data, err := d.openDataFile(info, open)
		if err != nil {
			return err
		}
		return d.addLayer(info, &file{r: f, size: info.FileSize, path: info.Path, os: f}, data)
	})
	if err == nil {
		err = d.finish(p)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// openDataFile opens the external data file of a layer, or returns nil if it
// has none.
func (d *Disk) openDataFile(info Layer, open layerOpener) (*file, error) {
	if info.Image == nil || !info.Image.HasDataFile() {
		return nil, nil
	}
	if info.Image.DataFile == "" {
		return nil, fmt.Errorf("qcow2: %s: guest data is in an external data file, but its name is not recorded", info.Path)
	}
	path := ResolveDataFile(info.Path, info.Image.DataFile)
	f, size, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("qcow2: %s: external data file: %w", info.Path, err)
	}
	d.files = append(d.files, f)
	return &file{r: f, size: size, path: path, os: f}, nil
}

func newDisk() *Disk {
	return &Disk{tables: newCache(tableCacheBytes), clusters: newCache(clusterCacheBytes)}
}

// addLayer adds a layer below the others. data is its external data file, or
// nil.
func (d *Disk) addLayer(info Layer, f, data *file) error {
	l := &layer{Layer: info, depth: len(d.layers), tables: d.tables, file: f, data: f}
	if data != nil {
		l.data, l.external = data, true
	}
	if info.VirtualSize > math.MaxInt64 {
		return l.errorf("virtual size is %d bytes, the maximum is %d", info.VirtualSize, math.MaxInt64)
	}
	l.size = int64(info.VirtualSize)
	if info.Image != nil {
		if method := info.Image.Header.CryptMethod; method != 0 {
			return l.errorf("guest data is encrypted with %s, which is not supported", cryptMethods[method])
		}
		l.setGeometry()
	}
	d.layers = append(d.layers, l)
	return nil
}

// cryptMethods lists the names of the header field crypt_method: the index is
// the value. checkHeader refuses others.
var cryptMethods = []string{"nothing", "AES", "LUKS"}

// finish applies the options that need all layers.
func (d *Disk) finish(p *openParams) error {
	if p.hasSnapshot {
		if err := d.layers[0].useSnapshot(p.snapshot); err != nil {
			return err
		}
	}
	d.size = d.layers[0].size
	return nil
}

// Size returns the virtual size in bytes, a multiple of 512. The size of a raw
// image is rounded up, and zeros are added. The size in a qcow2 header is
// rounded down. QEMU does the same.
func (d *Disk) Size() int64 { return d.size }

// Layers returns the backing chain, the top layer first.
func (d *Disk) Layers() []Layer {
	layers := make([]Layer, len(d.layers))
	for i, l := range d.layers {
		layers[i] = l.Layer
	}
	return layers
}

// Close closes the files that OpenChain has opened. Later reads fail.
func (d *Disk) Close() error {
	var errs []error
	for _, f := range d.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
