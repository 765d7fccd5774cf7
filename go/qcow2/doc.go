// Package qcow2 makes and reads qcow2 disk images, without QEMU.
//
// Generate writes an image without guest data, with or without a backing file.
// Inspect describes an image by its header, InspectChain a whole backing chain,
// and Check recomputes the reference counts of an image.
//
// OpenChain opens an image with all that is below it, and Open an image alone;
// both return a Disk, the contents that a guest sees. ReadAt reads from any
// place, WriteTo everything in order, Map tells where the data is, and Compare
// finds the first difference between two disks.
//
// The answers are those of qemu-img: create, info, check, convert, map and
// compare. Images with clusters compressed by zstd need an import besides:
//
//	import _ "github.com/rules-qcow2/rules_qcow2/go/qcow2/zstd"
//
// The format is specified by QEMU's docs/interop/qcow2.
package qcow2
