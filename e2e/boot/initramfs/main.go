// Command initramfs packs an init program into an initial RAM disk for Linux: a
// compressed archive, which the kernel unpacks.
package main

import (
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"os"

	"github.com/cavaliergopher/cpio"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: initramfs OUTPUT INIT")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "initramfs:", err)
		os.Exit(1)
	}
}

func pack(output, init string) error {
	if err := checkStatic(init); err != nil {
		return err
	}
	program, err := os.ReadFile(init)
	if err != nil {
		return err
	}
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
	if err := archive.WriteHeader(&cpio.Header{Name: "init", Mode: cpio.TypeReg | 0o755, Size: int64(len(program))}); err != nil {
		return err
	}
	_, err = archive.Write(program)
	return errors.Join(err, archive.Close(), compressed.Close(), f.Close())
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
