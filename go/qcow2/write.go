package qcow2

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"os"
	"runtime"
)

// WriterOptions are options of a Writer that do not change the format of the
// image. The zero value has the defaults.
type WriterOptions struct {
	// Compress compresses clusters that become smaller. The method is that of
	// GenerateWithCompressionType; the package go/qcow2/compress must be
	// imported.
	Compress bool
	// Backing is the contents of the backing file. It is needed for an image
	// with a backing file when only a part of a cluster is written, and for
	// CopyFrom, which then writes the differences from it. For OpenWriter, it is
	// the contents of the image itself, and CopyFrom needs it. Whoever opens it
	// closes it, after the Writer.
	Backing *Disk
	// KeepZeros stores zeros like other data. By default, the image does not
	// store clusters and subclusters that are zero.
	KeepZeros bool
	// Workers is the number of clusters that are read, compressed or written
	// at a time. The default is twice the number of processors that Go may
	// use. It does not change the image.
	Workers int
	// Progress, if it is not nil, is called by CopyFrom with the number of bytes
	// of the disk that are done. The number never decreases.
	Progress func(done int64)
}

// A Writer writes a new qcow2 image, or changes one. Guest data may be written in
// any order and more than once. The image depends only on the calls and their
// order, not on the number of workers. Only one goroutine may use a Writer at a
// time.
//
// A new file is not an image before Close, which writes the header. Memory is
// about 3 clusters for each worker, 8 MiB for tables, 8 bytes for each L2 table
// and each refcount block, and what the compressor needs.
type Writer struct {
	f        WriterFile
	params   *params
	options  WriterOptions
	compress Compressor // nil if clusters are not compressed

	units    uint // parts of a cluster that can be mapped separately: 1, or 32 subclusters
	unitSize int  // in bytes

	tables *tableCache
	counts *refcounts
	mapped *mapping
	l1     uint64 // position of the L1 table
	output runWriter

	turns turns
	idle  chan *job // jobs that are not running
	batch int       // clusters of a job
	open  openCluster
	fresh uint64    // no cluster from it on was ever written
	old   *existing // nil for a new image

	closed bool
}

// NewWriter returns a Writer for an image in f, which must be empty. The options
// are those of Generate, except an external data file and preallocation. If the
// size or the format of a backing file is not given, NewWriter reads it as
// Generate does.
func NewWriter(f WriterFile, options WriterOptions, opts ...*GenerateOption) (*Writer, error) {
	p := defaultParams()
	if err := p.apply(opts); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	name := ""
	if file, ok := f.(*os.File); ok {
		name = nameOf(file)
	}
	if err := p.completeFromBackingFile(name); err != nil {
		return nil, err
	}
	var err error
	if p.size, err = roundUpSize(p.size); err != nil {
		return nil, err
	}
	if err := p.checkSize(); err != nil {
		return nil, err
	}
	w := &Writer{f: f, params: p, options: options}
	if err := w.check(); err != nil {
		return nil, err
	}
	if err := w.start(); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *Writer) check() (err error) {
	p := w.params
	switch {
	case p.hasDataFile:
		return errors.New("qcow2: a Writer cannot write an external data file")
	case p.preallocated():
		return errors.New("qcow2: a Writer does not preallocate metadata")
	case w.options.Workers < 0:
		return fmt.Errorf("qcow2: %d workers are given, at least 1 is needed", w.options.Workers)
	case w.options.Backing != nil && !p.hasBackingFile && w.old == nil:
		return errors.New("qcow2: contents of a backing file are given, but no backing file; use GenerateWithBackingFile")
	case p.size > math.MaxInt64:
		return fmt.Errorf("qcow2: virtual size is %d bytes, a Writer allows %d", p.size, math.MaxInt64)
	}
	if w.options.Compress {
		w.compress, err = compressorFor(p.compressionType)
	}
	return err
}

// start reserves the places of header, refcount table and L1 table, or finds them in
// an existing image.
func (w *Writer) start() (err error) {
	p := w.params
	// The header must fit, whatever its offsets will be.
	if _, err := encodeHeader(p, &layout{}); err != nil {
		return err
	}
	w.units = 1
	if p.extendedL2 && w.compress == nil {
		w.units = subclustersPerCluster
	}
	w.unitSize = int(p.clusterSize) / int(w.units)

	w.tables = newTableCache(w.f, p.clusterSize)
	if w.old != nil {
		err = w.readExisting()
	} else {
		err = w.reserveTables()
	}
	if err != nil {
		return err
	}
	w.output = runWriter{f: w.f}

	workers := w.options.Workers
	if workers == 0 {
		workers = 2 * runtime.GOMAXPROCS(0)
	}
	w.batch = max(1, batchBytes/int(p.clusterSize))
	w.turns.init()
	w.idle = make(chan *job, workers)
	for range workers {
		w.idle <- &job{}
	}
	return nil
}

func (w *Writer) reserveTables() (err error) {
	if w.counts, err = newRefcounts(newTableCache(w.f, w.params.clusterSize), w.params); err != nil {
		return err
	}
	w.mapped = newMapping(w.tables, w.counts, w.params)
	return w.reserveL1()
}

// reserveL1 reserves the place of the L1 table.
func (w *Writer) reserveL1() (err error) {
	w.l1, _, err = w.counts.reserve(func(uint64) uint64 { return w.l1Clusters() })
	return err
}

func (w *Writer) l1Clusters() uint64 {
	return ceilDiv(uint64(len(w.mapped.l1))*l1EntrySize, w.params.clusterSize)
}

// Size returns the virtual size in bytes.
func (w *Writer) Size() int64 { return int64(w.params.size) }

// WriteAt writes guest data at byte off of the virtual disk. It fails if a part
// of p is after the end of the disk. It does not keep p. Clusters are written
// while later calls run, so a later call or Close may return the error.
func (w *Writer) WriteAt(p []byte, off int64) (int, error) {
	if w.closed {
		return 0, errClosed
	}
	if off < 0 || off > w.Size() || int64(len(p)) > w.Size()-off {
		return 0, fmt.Errorf("qcow2: write of %d bytes at offset %d, the virtual size is %d", len(p), off, w.Size())
	}
	for n := 0; n < len(p); {
		written, err := w.writeSome(p[n:], off+int64(n))
		if err != nil {
			return n, err
		}
		n += written
	}
	return len(p), nil
}

// writeSome writes whole clusters from the beginning of p, or a part of one.
func (w *Writer) writeSome(p []byte, off int64) (int, error) {
	size := int64(w.params.clusterSize)
	cluster := uint64(off / size)
	if in := int(off % size); in != 0 || len(p) < w.clusterLength(cluster) {
		n := min(len(p), int(size)-in)
		return n, w.open.write(w, cluster, in, p[:n])
	}
	n := min(len(p), w.batch*int(size))
	if end := off + int64(n); end < w.Size() {
		n -= n % int(size)
	}
	if w.open.within(cluster, ceilDiv(uint64(n), uint64(size))) {
		w.open.mask = 0 // it is overwritten
	}
	if err := w.open.flush(w); err != nil {
		return 0, err
	}
	j, err := w.newJob(cluster, n)
	if err != nil {
		return 0, err
	}
	copy(j.data, p[:n])
	w.run(j, nil)
	return n, nil
}

// clusterLength is the number of bytes of the disk in a cluster. The last
// cluster may have fewer than the others.
func (w *Writer) clusterLength(cluster uint64) int {
	return int(min(w.params.clusterSize, w.params.size-cluster*w.params.clusterSize))
}

// allUnits is the mask of a whole cluster.
func (w *Writer) allUnits() uint32 { return uint32(1<<w.units - 1) }

func (w *Writer) clusterBits() uint32 {
	return uint32(bits.TrailingZeros64(w.params.clusterSize))
}
