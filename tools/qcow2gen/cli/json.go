package cli

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf16"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// A jsonObject keeps the order of its members, so the text is the same as
// qemu-img's. Values are strings, booleans, unsigned numbers, objects and arrays.
type jsonObject []jsonMember

type jsonMember struct {
	key   string
	value any
}

type jsonArray []any

// writeJSON returns the output of qemu-img info --output=json: an object, or an
// array of objects for a chain.
func writeJSON(infos []imageInfo, chain bool) string {
	var images jsonArray
	for _, info := range infos {
		images = append(images, info.json())
	}
	var b strings.Builder
	if chain {
		appendJSON(&b, images, "\n")
	} else {
		appendJSON(&b, images[0], "\n")
	}
	b.WriteByte('\n')
	return b.String()
}

func (i *imageInfo) json() jsonObject {
	file := jsonObject{
		{"children", jsonArray{}},
		{"virtual-size", roundUp(uint64(i.FileSize), sectorSize)},
		{"filename", i.Path},
		{"format", i.protocol},
		{"actual-size", i.actualSize},
	}
	if i.protocol == "file" {
		file = append(file, jsonMember{"format-specific", jsonObject{{"type", "file"}, {"data", jsonObject{}}}})
	}
	file = append(file, jsonMember{"dirty-flag", false})
	if i.Format == qcow2.FormatFile {
		return file
	}

	o := jsonObject{{"children", jsonArray{jsonObject{{"name", "file"}, {"info", file}}}}}
	image := i.Image
	if image != nil && image.BackingFile != "" && image.BackingFormat != "" {
		o = append(o, jsonMember{"backing-filename-format", image.BackingFormat})
	}
	if image != nil && len(image.Snapshots) > 0 {
		o = append(o, jsonMember{"snapshots", snapshotsJSON(image.Snapshots)})
	}
	o = append(o, jsonObject{{"virtual-size", i.VirtualSize}, {"filename", i.Path}}...)
	if image != nil {
		o = append(o, jsonMember{"cluster-size", image.ClusterSize()})
	}
	o = append(o, jsonObject{{"format", i.Format}, {"actual-size", i.actualSize}}...)
	if image != nil {
		o = append(o, jsonMember{"format-specific", jsonObject{{"type", i.Format}, {"data", i.formatSpecific()}}})
		if image.BackingFile != "" {
			o = append(o, jsonObject{
				{"full-backing-filename", i.fullBackingFile()},
				{"backing-filename", image.BackingFile},
			}...)
		}
	}
	if image != nil && image.Encryption != nil {
		o = append(o, jsonMember{"encrypted", true})
	}
	return append(o, jsonMember{"dirty-flag", image != nil && image.Dirty()})
}

func snapshotsJSON(snapshots []qcow2.Snapshot) jsonArray {
	var a jsonArray
	for _, s := range snapshots {
		var o jsonObject
		if s.ICount != math.MaxUint64 {
			o = append(o, jsonMember{"icount", s.ICount})
		}
		a = append(a, append(o, jsonObject{
			{"vm-clock-nsec", s.VMClock % 1e9},
			{"name", s.Name},
			{"date-sec", s.DateSeconds},
			{"date-nsec", s.DateNanoseconds},
			{"vm-clock-sec", s.VMClock / 1e9},
			{"id", s.ID},
			{"vm-state-size", s.VMStateSize},
		}...))
	}
	return a
}

// formatSpecific returns the members that QEMU prints only for qcow2.
func (i *imageInfo) formatSpecific() jsonObject {
	image := i.Image
	o := jsonObject{
		{"compat", image.Compat()},
		{"compression-type", string(image.CompressionType())},
	}
	version3 := image.Header.Version >= 3
	if version3 {
		o = append(o, jsonMember{"lazy-refcounts", image.LazyRefcounts()})
	}
	if len(image.Bitmaps) > 0 {
		o = append(o, jsonMember{"bitmaps", bitmapsJSON(image.Bitmaps)})
	}
	o = append(o, jsonMember{"refcount-bits", image.RefcountBits()})
	if image.Encryption != nil {
		o = append(o, jsonMember{"encrypt", encryptionJSON(image.Encryption)})
	}
	if image.HasDataFile() {
		if image.DataFile != "" {
			o = append(o, jsonMember{"data-file", image.DataFile})
		}
		o = append(o, jsonMember{"data-file-raw", image.DataFileRaw()})
	}
	if version3 {
		o = append(o, jsonObject{
			{"corrupt", image.Corrupt()},
			{"extended-l2", image.ExtendedL2()},
		}...)
	}
	return o
}

func bitmapsJSON(bitmaps []qcow2.Bitmap) jsonArray {
	var a jsonArray
	for _, b := range bitmaps {
		flags := jsonArray{}
		if b.InUse {
			flags = append(flags, "in-use")
		}
		if b.Auto {
			flags = append(flags, "auto")
		}
		a = append(a, jsonObject{{"flags", flags}, {"name", b.Name}, {"granularity", b.Granularity}})
	}
	return a
}

func encryptionJSON(e *qcow2.Encryption) jsonObject {
	if e.LUKS == nil {
		return jsonObject{{"format", e.Format}}
	}
	luks := e.LUKS
	var slots jsonArray
	for _, slot := range luks.Slots {
		o := jsonObject{{"active", slot.Active}}
		if slot.Active {
			o = append(o, jsonMember{"iters", slot.Iters})
		}
		o = append(o, jsonMember{"key-offset", slot.KeyOffset})
		if slot.Active {
			o = append(o, jsonMember{"stripes", slot.Stripes})
		}
		slots = append(slots, o)
	}
	o := jsonObject{
		{"ivgen-alg", luks.IVGenerator},
		{"detached-header", false},
		{"hash-alg", luks.HashAlgorithm},
		{"cipher-alg", luks.CipherAlgorithm},
		{"uuid", luks.UUID},
	}
	if luks.IVGeneratorHash != "" {
		o = append(o, jsonMember{"ivgen-hash-alg", luks.IVGeneratorHash})
	}
	return append(o, jsonObject{
		{"format", e.Format},
		{"cipher-mode", luks.CipherMode},
		{"slots", slots},
		{"payload-offset", luks.PayloadOffset},
		{"master-key-iters", luks.MasterKeyIters},
	}...)
}

// appendJSON writes value as QEMU does. newline is a line break with the
// indentation of the value's line.
func appendJSON(b *strings.Builder, value any, newline string) {
	inner := newline + "    "
	separator := inner
	switch value := value.(type) {
	case jsonObject:
		b.WriteByte('{')
		for _, m := range value {
			b.WriteString(separator)
			separator = "," + inner
			appendJSONString(b, m.key)
			b.WriteString(": ")
			appendJSON(b, m.value, inner)
		}
		b.WriteString(newline + "}")
	case jsonArray:
		b.WriteByte('[')
		for _, v := range value {
			b.WriteString(separator)
			separator = "," + inner
			appendJSON(b, v, inner)
		}
		b.WriteString(newline + "]")
	case string:
		appendJSONString(b, value)
	default:
		fmt.Fprint(b, value)
	}
}

// appendJSONString escapes all characters outside ASCII, as QEMU does.
func appendJSONString(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c >= ' ' && c < 0x7f:
			b.WriteRune(c)
		case strings.ContainsRune("\b\f\n\r\t", c):
			b.WriteByte('\\')
			b.WriteByte("btn-fr"[c-'\b'])
		case c > 0xffff:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(b, "\\u%04X\\u%04X", high, low)
		default:
			fmt.Fprintf(b, "\\u%04X", c) // utf8.RuneError for invalid UTF-8
		}
	}
	b.WriteByte('"')
}
