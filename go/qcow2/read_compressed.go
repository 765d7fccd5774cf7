package qcow2

import (
	"fmt"
	"sync"
)

// A Decompressor decompresses a cluster: it fills all of dst from src, or
// fails. It may write after dst, up to its capacity. src may continue after the
// end of the compressed data. A Decompressor keeps neither slice. Several
// goroutines may call it at the same time.
type Decompressor func(dst, src []byte) error

var (
	decompressorsMu sync.RWMutex
	decompressors   = map[CompressionType]Decompressor{CompressionZlib: inflate}
)

// RegisterDecompressor sets the Decompressor for a compression method.
// CompressionZlib has one from the start. The package go/qcow2/zstd registers
// one for CompressionZstd when it is imported. It panics if the method has one
// already.
func RegisterDecompressor(method CompressionType, d Decompressor) {
	decompressorsMu.Lock()
	defer decompressorsMu.Unlock()
	if _, ok := decompressors[method]; ok {
		panic(fmt.Sprintf("qcow2: a decompressor for %q is registered already", method))
	}
	decompressors[method] = d
}

func decompressorFor(method CompressionType) (Decompressor, error) {
	decompressorsMu.RLock()
	defer decompressorsMu.RUnlock()
	if d, ok := decompressors[method]; ok {
		return d, nil
	}
	return nil, &NoDecompressorError{method}
}

// A NoDecompressorError says that a compressed cluster cannot be read.
type NoDecompressorError struct {
	Type CompressionType // of the image
}

func (e *NoDecompressorError) Error() string {
	hint := ""
	if e.Type == CompressionZstd {
		hint = " (import _ \"github.com/rules-qcow2/rules_qcow2/go/qcow2/zstd\")"
	}
	return fmt.Sprintf("cluster is compressed with %s, for which no decompressor is registered%s", e.Type, hint)
}

// readCompressed fills p with the data at guest offset off. All of p is in the
// compressed cluster with the given descriptor.
func (d *Disk) readCompressed(l *layer, p []byte, descriptor uint64, off int64) error {
	offset, length := compressedCluster(descriptor, uint32(l.clusterBits))
	host, size := int64(offset), int64(length)
	clusterSize := int64(1) << l.clusterBits
	inCluster := off & (clusterSize - 1)
	var err error
	if int64(len(p)) == clusterSize {
		err = l.decompress(p, host, size)
	} else {
		var cluster []byte
		cluster, err = d.clusters.get(cacheKey{l.depth, host, size}, func() ([]byte, error) {
			b := make([]byte, clusterSize)
			return b, l.decompress(b, host, size)
		})
		if err == nil {
			copy(p, cluster[inCluster:])
		}
	}
	if err != nil {
		return l.errorf("compressed cluster at offset %d (guest offset %d): %w", host, off-inCluster, err)
	}
	return nil
}

// compressedData holds buffers for compressed clusters.
var compressedData = sync.Pool{New: func() any { return new([]byte) }}

// decompress fills dst, which has the size of a cluster, from the size bytes at
// offset host.
func (l *layer) decompress(dst []byte, host, size int64) error {
	d, err := decompressorFor(l.Image.CompressionType())
	if err != nil {
		return err
	}
	if host >= l.FileSize {
		return fmt.Errorf("the file is %d bytes long", l.FileSize)
	}
	buffer := compressedData.Get().(*[]byte)
	defer compressedData.Put(buffer)
	if int64(cap(*buffer)) < size {
		*buffer = make([]byte, size)
	}
	src := (*buffer)[:size]
	if err := l.file.readAt(src, host); err != nil {
		return err
	}
	return d(dst, src)
}
