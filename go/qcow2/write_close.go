package qcow2

import (
	"encoding/binary"
	"errors"
)

var errClosed = errors.New("qcow2: the Writer is closed already")

// Close writes the rest of the data, the tables and the header. It does not
// close the file. If it fails, or an earlier write failed, the file is not an
// image.
func (w *Writer) Close() error {
	if w.closed {
		return errClosed
	}
	w.closed = true
	err := w.open.flush(w)
	if waitErr := w.wait(); err == nil {
		err = waitErr
	}
	if err != nil {
		return err
	}
	return w.finish()
}

func (w *Writer) finish() error {
	if err := w.placeL1(); err != nil {
		return err
	}
	table, clusters, content, err := w.counts.finish()
	if err != nil {
		return err
	}
	l := &layout{
		clusterSize:           w.params.clusterSize,
		refcountTable:         table,
		refcountTableClusters: clusters,
		l1:                    w.l1,
		l1Entries:             uint64(len(w.mapped.l1)),
	}
	header, err := encodeHeader(w.params, l)
	if err != nil {
		return err
	}
	if err := w.writeStructure(content, table*l.clusterSize); err != nil {
		return err
	}
	l1 := make([]byte, 0, len(w.mapped.l1)*l1EntrySize)
	for _, cluster := range w.mapped.l1 {
		entry := uint64(0)
		if cluster != 0 {
			entry = cluster*l.clusterSize | entryCopied
		}
		l1 = binary.BigEndian.AppendUint64(l1, entry)
	}
	if err := w.writeStructure(l1, w.l1*l.clusterSize); err != nil {
		return err
	}
	if err := w.tables.flush(); err != nil {
		return err
	}
	if err := w.counts.tables.flush(); err != nil {
		return err
	}
	if err := w.extend(w.counts.end * l.clusterSize); err != nil {
		return err
	}
	if w.old == nil {
		_, err = w.f.WriteAt(header, 0)
		return err
	}
	return w.replaceHeader(header)
}

// writeStructure writes b without its long runs of zeros, which become holes.
func (w *Writer) writeStructure(b []byte, offset uint64) error {
	for len(b) > 0 {
		n := min(len(b), smallestHole)
		if !isZero(b[:n]) || w.old != nil && offset < w.old.length {
			if _, err := w.f.WriteAt(b[:n], int64(offset)); err != nil {
				return err
			}
		}
		b, offset = b[n:], offset+uint64(n)
	}
	return nil
}

// extend makes the file length bytes long. The last byte is zero if it was not
// written yet.
func (w *Writer) extend(length uint64) error {
	var last [1]byte
	if n, _ := w.f.ReadAt(last[:], int64(length)-1); n == 1 {
		return nil
	}
	_, err := w.f.WriteAt(last[:], int64(length)-1)
	return err
}
