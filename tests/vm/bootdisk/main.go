// Command bootdisk writes a raw disk image of 1 MiB that a PC BIOS boots.
//
// The program in its boot sector prints a greeting and the text of sector 1 on the
// first serial port, fills sector 2 with the letter W, and ends QEMU through the
// isa-debug-exit device at port 0xf4: with 0x10, for exit status 33, or with 0x11, for
// exit status 35, if a disk access failed.
package main

import (
	"fmt"
	"os"
)

const (
	diskSize   = 1 << 20
	sectorSize = 512

	origin = 0x7c00 // address to which a BIOS loads the boot sector
	sector = 0x7e00 // address to which the program reads sector 1
	filled = 0x9000 // address of the data for sector 2
)

const sectorText = "sector 1: the base is readable\r\n\x00"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: bootdisk FILE")
		os.Exit(2)
	}
	disk := make([]byte, diskSize)
	copy(disk, bootSector())
	copy(disk[sectorSize:], sectorText)
	if err := os.WriteFile(os.Args[1], disk, 0o666); err != nil {
		fmt.Fprintln(os.Stderr, "bootdisk:", err)
		os.Exit(1)
	}
}

// bootSector assembles the program: 16-bit x86 machine code.
func bootSector() []byte {
	p := program{labels: map[string]int{}}

	p.emit(0xfc)                        // cld
	p.emit(0x31, 0xc0)                  // xor ax, ax
	p.emit(0x8e, 0xd8)                  // mov ds, ax
	p.emit(0x8e, 0xc0)                  // mov es, ax
	p.emit(0x8e, 0xd0)                  // mov ss, ax
	p.emit(0xbc).word(origin)           // mov sp, origin
	p.emit(0x88, 0x16).address("drive") // mov [drive], dl
	p.print("greeting")

	p.emit(0xb4, 0x42) // mov ah, 42h: read the sectors of the packet
	p.call("disk")
	p.emit(0x0f, 0x82).relative("failed") // jc failed
	p.emit(0xbe).word(sector)             // mov si, sector
	p.call("print")

	p.emit(0xb0, 'W')                                        // mov al, 'W'
	p.emit(0xb9).word(512)                                   // mov cx, 512
	p.emit(0xbf).word(filled)                                // mov di, filled
	p.emit(0xf3, 0xaa)                                       // rep stosb
	p.emit(0xc7, 0x06).address("packet.buffer").word(filled) // mov word [packet.buffer], filled
	p.emit(0xc7, 0x06).address("packet.sector").word(2)      // mov word [packet.sector], 2
	p.emit(0xb8).word(0x4300)                                // mov ax, 4300h: write without verification
	p.call("disk")
	p.emit(0x0f, 0x82).relative("failed") // jc failed
	p.print("written")
	p.emit(0xb0, 0x10) // mov al, 10h
	p.label("exit")
	p.emit(0xe6, 0xf4) // out 0f4h, al
	p.label("halt")
	p.emit(0xf4)                  // hlt
	p.emit(0xe9).relative("halt") // jmp halt

	p.label("failed")
	p.print("failure")
	p.emit(0xb0, 0x11)            // mov al, 11h
	p.emit(0xe9).relative("exit") // jmp exit

	p.label("disk")
	p.emit(0x8a, 0x16).address("drive") // mov dl, [drive]
	p.emit(0xbe).address("packet")      // mov si, packet
	p.emit(0xcd, 0x13)                  // int 13h
	p.emit(0xc3)                        // ret

	p.label("print")                       // the zero-terminated text at si
	p.emit(0xac)                           // lodsb
	p.emit(0x84, 0xc0)                     // test al, al
	p.emit(0x0f, 0x84).relative("printed") // jz printed
	p.emit(0x88, 0xc4)                     // mov ah, al
	p.emit(0xba).word(0x3fd)               // mov dx, 3fdh: line status
	p.label("busy")
	p.emit(0xec)                        // in al, dx
	p.emit(0xa8, 0x20)                  // test al, 20h: room for a byte
	p.emit(0x0f, 0x84).relative("busy") // jz busy
	p.emit(0x88, 0xe0)                  // mov al, ah
	p.emit(0xba).word(0x3f8)            // mov dx, 3f8h: COM1
	p.emit(0xee)                        // out dx, al
	p.emit(0xe9).relative("print")      // jmp print
	p.label("printed")
	p.emit(0xc3) // ret

	p.label("greeting")
	p.text("boot sector: running\r\n")
	p.label("written")
	p.text("sector 2: written\r\n")
	p.label("failure")
	p.text("disk access failed\r\n")
	p.label("drive")
	p.emit(0)
	p.label("packet") // of the BIOS's extended read and write
	p.emit(16, 0)
	p.word(1) // one sector
	p.label("packet.buffer")
	p.word(sector).word(0)
	p.label("packet.sector")
	p.word(1).word(0).word(0).word(0)

	return p.link()
}

// program is machine code with labels.
type program struct {
	code   []byte
	labels map[string]int
	fixups []fixup
}

// fixup is a word at offset that link sets to the address of label.
type fixup struct {
	offset   int
	label    string
	relative bool
}

func (p *program) emit(b ...byte) *program {
	p.code = append(p.code, b...)
	return p
}

func (p *program) word(w uint16) *program { return p.emit(byte(w), byte(w>>8)) }

func (p *program) text(s string) { p.emit([]byte(s)...).emit(0) }

func (p *program) label(name string) { p.labels[name] = len(p.code) }

func (p *program) address(label string) *program {
	p.fixups = append(p.fixups, fixup{len(p.code), label, false})
	return p.word(0)
}

func (p *program) relative(label string) *program {
	p.fixups = append(p.fixups, fixup{len(p.code), label, true})
	return p.word(0)
}

func (p *program) call(label string) { p.emit(0xe8).relative(label) }

func (p *program) print(label string) {
	p.emit(0xbe).address(label) // mov si, label
	p.call("print")
}

// link fills in the addresses and the signature of a boot sector.
func (p *program) link() []byte {
	for _, f := range p.fixups {
		target, ok := p.labels[f.label]
		if !ok {
			panic("no label " + f.label)
		}
		value := origin + target
		if f.relative {
			value = target - (f.offset + 2)
		}
		p.code[f.offset], p.code[f.offset+1] = byte(value), byte(value>>8)
	}
	if len(p.code) > sectorSize-2 {
		panic("the program does not fit into a sector")
	}
	return append(append(p.code, make([]byte, sectorSize-2-len(p.code))...), 0x55, 0xaa)
}
