// Package qcow2 creates and reads qcow2 disk images without QEMU.
//
// Generate writes an image without guest data, with or without a backing file.
// CreateLayer creates a private writable layer on an image. Inspect describes
// an image by its header, InspectChain describes a whole backing chain, and
// Check recomputes the reference counts of an image.
//
// OpenChain opens an image with all layers below it. Open opens one image. Both
// return a Disk, the contents that a guest sees. ReadAt reads at any offset,
// WriteTo reads everything in order, Map shows where the data is, and Compare
// finds the first difference between two disks.
//
// NewWriter returns a Writer for a new image with data, OpenWriter one for an
// existing image. Rebase changes the backing file of an image, and Commit writes the
// data of an image to the one below it.
//
// The results are those of qemu-img: create, info, check, convert, map, compare,
// rebase and commit. Images with clusters compressed by zstd need another import:
//
//	import _ "github.com/rules-qcow2/rules_qcow2/go/qcow2/zstd"
//
// QEMU's docs/interop/qcow2 specifies the format.
package qcow2
