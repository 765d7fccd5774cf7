package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/qcow2"
)

// writeHuman returns the lines that qemu-img info prints, with an empty line
// between images.
func writeHuman(infos []imageInfo, _ bool) string {
	var images []string
	for _, info := range infos {
		images = append(images, info.human())
	}
	return strings.Join(images, "\n")
}

func (i *imageInfo) human() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("image: %s", i.Path)
	line("file format: %s", i.Format)
	line("virtual size: %s (%d bytes)", humanSize(i.VirtualSize), i.VirtualSize)
	line("disk size: %s", humanSize(i.actualSize))
	if image := i.Image; image != nil {
		if image.Encryption != nil {
			line("encrypted: yes")
		}
		line("cluster_size: %d", image.ClusterSize())
		if image.Dirty() {
			line("cleanly shut down: no")
		}
		if image.BackingFile != "" {
			if full := i.fullBackingFile(); full != image.BackingFile {
				line("backing file: %s (actual path: %s)", image.BackingFile, full)
			} else {
				line("backing file: %s", image.BackingFile)
			}
			if image.BackingFormat != "" {
				line("backing file format: %s", image.BackingFormat)
			}
		}
		if len(image.Snapshots) > 0 {
			line("Snapshot list:")
			columns := func(id, tag, size, date, clock, icount string) {
				line("%s %s %8s %19s %15s %10s", pad(id, 7), pad(tag, 16), size, date, clock, icount)
			}
			columns("ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT")
			for _, s := range image.Snapshots {
				columns(s.ID, s.Name, humanSize(s.VMStateSize), snapshotDate(&s), snapshotClock(&s), snapshotICount(&s))
			}
		}
		line("Format specific information:")
		appendHuman(&b, i.formatSpecific(), "    ")
	}
	if i.Format == qcow2.FormatFile {
		return b.String() // the file itself is the top node
	}
	line("Child node '/file':")
	line("    filename: %s", i.Path)
	line("    protocol type: %s", i.protocol)
	fileSize := roundUp(uint64(i.FileSize), sectorSize)
	line("    file length: %s (%d bytes)", humanSize(fileSize), fileSize)
	line("    disk size: %s", humanSize(i.actualSize))
	return b.String()
}

// appendHuman writes one line for each member of an object or array, as QEMU
// does.
func appendHuman(b *strings.Builder, value any, indentation string) {
	member := func(name string, value any) {
		switch value.(type) {
		case jsonObject, jsonArray:
			fmt.Fprintf(b, "%s%s:\n", indentation, name)
			appendHuman(b, value, indentation+"    ")
		default:
			fmt.Fprintf(b, "%s%s: %v\n", indentation, name, value)
		}
	}
	switch value := value.(type) {
	case jsonObject:
		for _, m := range value {
			member(strings.ReplaceAll(m.key, "-", " "), m.value)
		}
	case jsonArray:
		for n, v := range value {
			member(fmt.Sprintf("[%d]", n), v)
		}
	}
}

// humanSize returns a size with three digits, as QEMU's size_to_str does: in
// the largest unit of which it is 1000/1024 or more.
func humanSize(size uint64) string {
	unit := 0
	if scaled, exponent := math.Frexp(float64(size) / (1000.0 / 1024)); scaled != 0 {
		unit = (exponent - 1) / 10
	}
	value := float64(size) / float64(uint64(1)<<(10*unit))
	return strconv.FormatFloat(value, 'g', 3, 64) + " " + []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}[unit]
}

// pad fills a column as C does, by bytes.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-len(s)))
}

// snapshotDate is in local time.
func snapshotDate(s *qcow2.Snapshot) string {
	return time.Unix(int64(s.DateSeconds), 0).Format(time.DateTime)
}

func snapshotClock(s *qcow2.Snapshot) string {
	seconds := s.VMClock / 1e9
	return fmt.Sprintf("%04d:%02d:%02d.%03d", seconds/3600, seconds/60%60, seconds%60, s.VMClock/1e6%1000)
}

func snapshotICount(s *qcow2.Snapshot) string {
	if s.ICount == math.MaxUint64 {
		return ""
	}
	return strconv.FormatUint(s.ICount, 10)
}
