package qcow2

import (
	"bytes"
	"math/bits"
	"slices"
	"sync"
)

// batchBytes is the smallest size of a job. Small clusters are read and written
// together.
const batchBytes = 64 << 10

// A job writes some clusters in a row. Reading and compressing them takes place
// at the same time as in other jobs. The jobs then allocate space and write in
// the order in which they were made, so the image does not depend on their
// number.
type job struct {
	ticket  uint64
	cluster uint64   // the first
	data    []byte   // whole clusters
	masks   []uint32 // for each cluster, the units to write
	zeros   []uint32 // for each cluster, the units that are zero
	packed  [][]byte // for each cluster, its compressed form, or nothing
	other   []byte   // for contents to compare with
}

// turns lets jobs pass in the order of their tickets.
type turns struct {
	mu     sync.Mutex
	passed *sync.Cond
	issued uint64 // tickets; used by one goroutine
	now    uint64
	err    error // of the first job that failed
}

func (t *turns) init() { t.passed = sync.NewCond(&t.mu) }

// pass waits for its turn and runs f, unless an earlier job or this one has
// failed.
func (t *turns) pass(ticket uint64, err error, f func() error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.now != ticket {
		t.passed.Wait()
	}
	if t.err == nil && err == nil {
		t.mu.Unlock()
		err = f()
		t.mu.Lock()
	}
	if t.err == nil {
		t.err = err
	}
	t.now++
	t.passed.Broadcast()
}

// fail makes all later jobs fail.
func (t *turns) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
	}
}

func (t *turns) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// newJob returns a job for length bytes from a cluster on, of which all units
// are written. It waits until a job is free.
func (w *Writer) newJob(cluster uint64, length int) (*job, error) {
	j := <-w.idle
	if err := w.turns.failure(); err != nil {
		w.idle <- j
		return nil, err
	}
	size := int(w.params.clusterSize)
	n := (length + size - 1) / size
	j.ticket, j.cluster = w.turns.issued, cluster
	w.turns.issued++
	w.fresh = max(w.fresh, cluster+uint64(n))
	j.data = slices.Grow(j.data[:0], n*size)[:n*size]
	clear(j.data[length:])
	j.masks = slices.Grow(j.masks[:0], n)[:n]
	for i := range j.masks {
		j.masks[i] = w.allUnits()
	}
	j.zeros = slices.Grow(j.zeros[:0], n)[:n]
	j.packed = slices.Grow(j.packed[:0], n)[:n]
	return j, nil
}

// run runs a job on its own goroutine. If fill is not nil, it reads the data.
func (w *Writer) run(j *job, fill func(*job) error) {
	go func() {
		var err error
		if fill != nil {
			err = fill(j)
		}
		if err == nil {
			w.prepare(j)
		}
		w.turns.pass(j.ticket, err, func() error {
			if err := w.store(j); err != nil {
				return err
			}
			if fill != nil && w.options.Progress != nil {
				end := j.cluster*w.params.clusterSize + uint64(len(j.data))
				w.options.Progress(int64(min(end, w.params.size)))
			}
			return nil
		})
		w.idle <- j
	}()
}

// wait waits until all jobs have ended.
func (w *Writer) wait() error {
	jobs := make([]*job, cap(w.idle))
	for i := range jobs {
		jobs[i] = <-w.idle
	}
	for _, j := range jobs {
		w.idle <- j
	}
	if err := w.turns.failure(); err != nil {
		return err
	}
	return w.output.flush()
}

// prepare finds zeros and compresses.
func (w *Writer) prepare(j *job) {
	size := int(w.params.clusterSize)
	for i := range j.masks {
		data := j.data[i*size:][:size]
		j.zeros[i] = 0
		j.packed[i] = j.packed[i][:0]
		if !w.options.KeepZeros {
			for unit := range int(w.units) {
				if j.masks[i]>>unit&1 != 0 && isZero(data[unit*w.unitSize:][:w.unitSize]) {
					j.zeros[i] |= 1 << unit
				}
			}
		}
		if w.compress != nil && j.masks[i]&^j.zeros[i] != 0 {
			j.packed[i] = w.compress(j.packed[i], data)
			if len(j.packed[i]) >= size {
				j.packed[i] = j.packed[i][:0]
			}
		}
	}
}

// store allocates space for the clusters of a job, writes them and maps them.
func (w *Writer) store(j *job) error {
	size := int(w.params.clusterSize)
	for i, mask := range j.masks {
		if mask == 0 {
			continue
		}
		cluster := j.cluster + uint64(i)
		old, err := w.mapped.get(cluster)
		if err != nil {
			return err
		}
		if old.replacedWhole() {
			mask = w.allUnits() // the job has the data of all of them
		}
		var e l2Entry
		if packed := j.packed[i]; len(packed) > 0 {
			e, err = w.storeCompressed(old, packed)
		} else {
			e, err = w.storeUnits(old, j.data[i*size:][:size], mask, j.zeros[i])
		}
		if err == nil && e != old {
			err = w.mapped.set(cluster, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) storeCompressed(old l2Entry, packed []byte) (e l2Entry, err error) {
	if err := w.release(old); err != nil {
		return e, err
	}
	offset, err := w.counts.allocateBytes(uint64(len(packed)))
	if err != nil {
		return e, err
	}
	if err := w.output.write(packed, offset); err != nil {
		return e, err
	}
	return compressedEntry(offset, uint64(len(packed)), w.clusterBits())
}

// storeUnits stores the units in mask of the cluster data, of which those in
// zeros are zero, and returns the new entry.
func (w *Writer) storeUnits(old l2Entry, data []byte, mask, zeros uint32) (l2Entry, error) {
	// Only version 3 can mark zeros. They need no mark above nothing.
	if w.params.hasBackingFile && w.params.version < 3 {
		zeros = 0
	}
	if mask == w.allUnits() && zeros == mask {
		return w.zeroEntry(mask), w.release(old)
	}
	var host uint64
	if !old.replacedWhole() {
		host = old.descriptor & entryOffset
	} else if err := w.release(old); err != nil {
		return l2Entry{}, err
	}
	write := mask &^ zeros
	if host == 0 && write != 0 {
		position, err := w.counts.allocate()
		if err != nil {
			return l2Entry{}, err
		}
		host = position * w.params.clusterSize
	}
	for rest := write; rest != 0; {
		first := bits.TrailingZeros32(rest)
		end := first + bits.TrailingZeros32(^(rest >> first))
		if err := w.output.write(data[first*w.unitSize:end*w.unitSize], host+uint64(first*w.unitSize)); err != nil {
			return l2Entry{}, err
		}
		rest &^= uint32(1<<end - 1)
	}
	var e l2Entry
	if host != 0 {
		e.descriptor = host | entryCopied
	}
	switch {
	case !w.params.extendedL2:
	case w.units == 1:
		e.bitmap = subclusterAlloc
	default:
		keep := old.bitmap &^ (uint64(mask)<<32 | uint64(mask))
		e.bitmap = keep | w.zeroEntry(mask&zeros).bitmap | uint64(write)
	}
	return e, nil
}

// zeroEntry returns the entry of a cluster of which the units in mask are zero,
// and nothing is stored.
func (w *Writer) zeroEntry(mask uint32) l2Entry {
	switch {
	case !w.params.hasBackingFile:
		return l2Entry{}
	case !w.params.extendedL2:
		return l2Entry{descriptor: entryZero}
	case w.units == 1:
		return l2Entry{bitmap: subclusterAlloc << 32}
	}
	return l2Entry{bitmap: uint64(mask) << 32}
}

// replacedWhole reports whether the space of an entry cannot be written to: it is
// compressed, or others refer to it, too.
func (e l2Entry) replacedWhole() bool {
	return e.descriptor&entryCompressed != 0 || e.descriptor&entryOffset != 0 && e.descriptor&entryCopied == 0
}

// release frees the space of an entry that is replaced.
func (w *Writer) release(e l2Entry) error {
	offset, length := e.descriptor&entryOffset, w.params.clusterSize
	if e.descriptor&entryCompressed != 0 {
		offset, length = compressedCluster(e.descriptor, w.clusterBits())
	}
	if offset == 0 {
		return nil
	}
	// Another structure may take the place of data that is still in the buffer.
	if err := w.output.flush(); err != nil {
		return err
	}
	return w.counts.free(offset, length)
}

func isZero(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}

// A runWriter joins writes that follow each other.
type runWriter struct {
	f      WriterFile
	offset uint64 // of the buffer
	buffer []byte
}

func (r *runWriter) write(b []byte, offset uint64) error {
	if r.offset+uint64(len(r.buffer)) != offset || len(r.buffer)+len(b) > batchBytes {
		if err := r.flush(); err != nil {
			return err
		}
		r.offset = offset
	}
	if len(b) >= batchBytes {
		_, err := r.f.WriteAt(b, int64(offset))
		r.offset += uint64(len(b))
		return err
	}
	r.buffer = append(r.buffer, b...)
	return nil
}

func (r *runWriter) flush() error {
	if len(r.buffer) == 0 {
		return nil
	}
	_, err := r.f.WriteAt(r.buffer, int64(r.offset))
	r.buffer = r.buffer[:0]
	return err
}
