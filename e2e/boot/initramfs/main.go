// Command initramfs packs programs into an initial RAM disk for Linux: a compressed
// archive, which the kernel unpacks. The first is the init.
package main

import (
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cavaliergopher/cpio"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: initramfs OUTPUT INIT [NAME=PROGRAM]...")
		os.Exit(2)
	}
	if err := pack(os.Args[1], append([]string{"init=" + os.Args[2]}, os.Args[3:]...)); err != nil {
		fmt.Fprintln(os.Stderr, "initramfs:", err)
		os.Exit(1)
	}
}

// pack packs programs, each given as NAME=PATH.
func pack(output string, programs []string) error {
	f, err := os.Create(output)
	if err != nil {
		return err
	}
	compressed := gzip.NewWriter(f)
	archive := cpio.NewWriter(compressed)
	for _, folder := range []string{"dev", "proc", "sys"} {
		if err := archive.WriteHeader(&cpio.Header{Name: folder, Mode: cpio.TypeDir | 0o755}); err != nil {
			return err
		}
	}
	for _, program := range programs {
		name, path, _ := strings.Cut(program, "=")
		if err := add(archive, name, path); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), compressed.Close(), f.Close())
}

// add adds a program.
func add(archive *cpio.Writer, name, path string) error {
	if err := checkStatic(path); err != nil {
		return err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeReg | 0o755, Size: int64(len(program))}); err != nil {
		return err
	}
	_, err = archive.Write(program)
	return err
}

// checkStatic fails if a program needs an interpreter, which the archive lacks.
func checkStatic(path string) error {
	program, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer program.Close()
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_INTERP {
			return fmt.Errorf("%s must be linked statically", path)
		}
	}
	return nil
}
