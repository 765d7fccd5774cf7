package qcow2

import (
	"fmt"
	"sync"
)

// A Compressor compresses a cluster: it appends the compressed form of src to
// dst and returns the result. The same src must always give the same bytes. A
// Compressor keeps neither slice. Several goroutines may call it at the same
// time.
type Compressor func(dst, src []byte) []byte

var (
	compressorsMu sync.RWMutex
	compressors   = map[CompressionType]Compressor{}
)

// RegisterCompressor sets the Compressor for a compression method. The package
// go/qcow2/compress registers one for each method when it is imported. It
// panics if the method has one already.
func RegisterCompressor(method CompressionType, c Compressor) {
	compressorsMu.Lock()
	defer compressorsMu.Unlock()
	if _, ok := compressors[method]; ok {
		panic(fmt.Sprintf("qcow2: a compressor for %q is registered already", method))
	}
	compressors[method] = c
}

func compressorFor(method CompressionType) (Compressor, error) {
	compressorsMu.RLock()
	defer compressorsMu.RUnlock()
	if c, ok := compressors[method]; ok {
		return c, nil
	}
	return nil, &NoCompressorError{method}
}

// A NoCompressorError says that an image cannot be written compressed.
type NoCompressorError struct {
	Type CompressionType // of the image
}

func (e *NoCompressorError) Error() string {
	return fmt.Sprintf("qcow2: no compressor for %s is registered (import _ \"github.com/rules-qcow2/rules_qcow2/go/qcow2/compress\")", e.Type)
}
