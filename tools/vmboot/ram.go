package main

import (
	"bytes"
	"compress/flate"
	"errors"
	"os"
	"sync"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// ramClusterSize is the cluster size of packed RAM in bytes: a page of the guest. QEMU
// decompresses zlib with a window of 4 KiB, which matches within such a cluster do not leave.
// The window of the standard library is 32 KiB.
const ramClusterSize = 4 << 10

func init() { qcow2.RegisterCompressor(qcow2.CompressionZlib, deflate) }

var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is not allowed
	}
	return w
}}

// deflate is a qcow2.Compressor for clusters of at most ramClusterSize.
func deflate(dst, src []byte) []byte {
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	out := bytes.NewBuffer(dst)
	w.Reset(out)
	w.Write(src) // a bytes.Buffer does not fail
	w.Close()
	return out.Bytes()
}

// packRAM writes the sparse file at from to a new qcow2 image, which does not have pages
// of zeros: caches do not preserve holes.
func packRAM(to, from string) error {
	ram, err := qcow2.OpenChain(from, qcow2.OpenWithFormat(qcow2.FormatRaw))
	if err != nil {
		return err
	}
	defer ram.Close()
	return writeOutput(to, func(file *os.File) error {
		w, err := qcow2.NewWriter(file, qcow2.WriterOptions{Compress: true},
			qcow2.GenerateWithFileSize(uint64(ram.Size())), qcow2.GenerateWithClusterSize(ramClusterSize))
		if err != nil {
			return err
		}
		return errors.Join(w.CopyFrom(ram), w.Close())
	})
}

// unpackRAM is a build action of a qemu_snapshot: it writes the contents of the image at
// from to the sparse file that QEMU maps.
func unpackRAM(to, from string) error {
	ram, err := qcow2.OpenChain(from, qcow2.OpenWithFormat(qcow2.FormatQCOW2))
	if err != nil {
		return err
	}
	defer ram.Close()
	return writeOutput(to, func(file *os.File) error {
		_, err := ram.WriteTo(file)
		return err
	})
}

// writeOutput creates a file for write. It leaves no file after an error.
func writeOutput(path string, write func(*os.File) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	err = errors.Join(write(file), file.Close())
	if err != nil {
		removeOutputs(path)
	}
	return err
}
