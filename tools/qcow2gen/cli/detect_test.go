package cli_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// at returns size bytes with s at offset, and zeros elsewhere.
func at(size, offset int, s string) string {
	b := make([]byte, size)
	copy(b[offset:], s)
	return string(b)
}

func gzipped(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zipped(t *testing.T, names ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		if _, err := w.Create(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func tarred(t *testing.T, name string, format tar.Format) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Format: format}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestDetectRefuses has files that are plainly not disks. With an explicit format
// they are raw disks.
func TestDetectRefuses(t *testing.T) {
	dir := t.TempDir()
	const unpack, extract, convert, download = "unpack it first", "extract the disk", "qemu-img convert", "the download"
	converted := map[string]string{}
	for _, format := range []string{"qed", "vmdk", "vpc", "vhdx", "vdi", "parallels"} {
		qemuimg.Must(t, dir, "create", "-q", "-f", format, "image", "8M")
		converted[format] = readFile(t, dir, "image")
	}
	qemuimg.Must(t, dir, "create", "-q", "-f", "vpc", "-o", "subformat=fixed,force_size=on", "fixed", "2M")
	qemuimg.Must(t, dir, "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", "flat", "2M")
	for _, c := range []struct{ name, text, what, advice string }{
		{"page.img", "<!DOCTYPE html>\n<html>", "an HTML or XML page", download},
		{"page2.img", "\xef\xbb\xbf \r\n\t<HTML lang=en>", "an HTML or XML page", download},
		{"page3.qcow2", `<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>`, "an HTML or XML page", download},
		{"lfs.qcow2", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "a pointer of Git LFS", "run git lfs pull"},
		{"lfs.img", "version https://git-lfs.github.com/spec/v1\r\noid", "a pointer of Git LFS", "run git lfs pull"},
		{"gz", gzipped(t, "disk"), "a gzip file", unpack},
		{"xz", "\xfd7zXZ\x00\x00\x04", "an xz file", unpack},
		{"zst", "\x28\xb5\x2f\xfd\x04\x00", "a zstd file", unpack},
		{"bz2", "BZh91AY&SY", "a bzip2 file", unpack},
		{"empty.bz2", "BZh9\x17\x72\x45\x38\x50\x90", "a bzip2 file", unpack},
		{"lz4", "\x04\x22\x4d\x18\x64", "an lz4 file", unpack},
		{"old.lz4", "\x02\x21\x4c\x18", "an lz4 file", unpack},
		{"7z", "7z\xbc\xaf\x27\x1c\x00\x04", "a 7-Zip archive", extract},
		{"zip", zipped(t, "disk.img"), "a zip archive", extract},
		{"nothing.zip", zipped(t), "an empty zip archive", extract},
		{"pax.tar", tarred(t, "disk.raw", tar.FormatPAX), "a tar archive", extract},
		{"ustar.tar", tarred(t, "disk.raw", tar.FormatUSTAR), "a tar archive", extract},
		{"gnu.tar", tarred(t, "disk.raw", tar.FormatGNU), "a tar archive", extract},
		{"ova", tarred(t, "machine.ovf", tar.FormatUSTAR), "an OVA archive", extract},
		{"empty", "", "it is empty", download},
		{"image.vmdk", converted["vmdk"], "a VMDK image", convert},
		{"flat.vmdk", readFile(t, dir, "flat"), "the descriptor of a VMDK image", convert},
		{"esx.vmdk", at(1024, 0, "COWD"), "a VMDK image", convert},
		{"vdi", converted["vdi"], "a VDI image", convert},
		{"vhd", converted["vpc"], "a VHD image", convert},
		{"fixed.vhd", readFile(t, dir, "fixed"), "a VHD image", convert},
		{"vhdx", converted["vhdx"], "a VHDX image", convert},
		{"qed", converted["qed"], "a QED image", convert},
		{"hds", converted["parallels"], "a Parallels image", convert},
		{"old.hds", at(1024, 0, "WithoutFreeSpace"), "a Parallels image", convert},
		{"bochs", at(1024, 0, "Bochs Virtual HD Image"), "a Bochs image", convert},
		{"qcow", at(1024, 0, "QFI\xfb\x00\x00\x00\x01"), "qcow, version 1", convert},
		{"dmg", at(4096, 4096-512, "koly\x00\x00\x00\x04\x00\x00\x02\x00"), "a DMG image", convert},
		{"cut.qcow2", "QFI", "its name ends in .qcow2, but it is not a qcow2 image", "check how it was made"},
		{"disk.QCOW2", at(1024, 510, "\x55\xaa"), "its name ends in .qcow2", "rename it"},
		{"disk.qcow", "hello", "its name ends in .qcow,", "rename it"},
	} {
		writeFile(t, c.text, dir, c.name)
		mustRefuse(t, dir, []string{"x: backing file cannot be used: " + c.name + ": ", c.what, c.advice, `backing_format = "raw" (-F raw)`}, "create", "-q", "-b", c.name, "--detect-backing-format", "--standalone-backing", "x")
		mustRefuse(t, dir, []string{"qcow2gen: " + c.name + ": ", c.what, c.advice, "-f raw", `backing_format = "raw"`}, "convert", "--standalone-source", "-O", "qcow2", c.name, "x")
		mustRun(t, dir, "create", "-q", "-b", c.name, "-F", "raw", "out")
		mustRun(t, dir, "convert", "--standalone-source", "-f", "raw", "-O", "raw", c.name, "out")
	}
}

// TestDetectAccepts has disks that begin with anything else.
func TestDetectAccepts(t *testing.T) {
	dir := t.TempDir()
	mbr := at(1<<20, 510, "\x55\xaa")
	for name, text := range map[string]string{
		"mbr": "\xeb\x63\x90" + mbr[3:], "gpt": mbr[:512] + "EFI PART" + mbr[520:], "gpt at the end": mbr[:len(mbr)-512] + at(512, 0, "EFI PART"),
		"iso 9660": at(1<<20, 32768, "\x01CD001\x01"), "hybrid iso": mbr[:32768] + "\x01CD001\x01" + mbr[32775:],
		"ext4": at(1<<20, 1080, "\x53\xef"), "squashfs": "hsqs" + mbr, "erofs": at(1<<20, 1024, "\xe2\xe1\xf5\xe0"),
		"fat": "\xeb\x3c\x90MSDOS5.0" + mbr[11:], "ntfs": "\xeb\x52\x90NTFS    " + mbr[11:], "xfs": "XFSB\x00\x00\x10\x00" + mbr, "btrfs": at(1<<20, 65600, "_BHRfS_M"),
		"lvm": at(1<<20, 512, "LABELONE"), "luks": at(1<<20, 0, "LUKS\xba\xbe\x00\x01"), "luks2": at(1<<20, 0, "LUKS\xba\xbe\x00\x02"),
		"swap": at(1<<20, 4086, "SWAPSPACE2"), "zeros": at(1<<20, 0, ""), "hello": "hello", "one byte": "\x00", "line": "hello\n",
		"apple": "ER\x02\x00" + mbr, "cpio": "070701" + mbr, "romfs": "-rom1fs-" + mbr, "cramfs": "\x45\x3d\xcd\x28" + mbr, "ubi": "UBI#" + mbr,
		"BZh text": "BZh9 is not bzip2", "PK text": "PK and more", "7z text": "7z and more", "version": "version 1 of a disk", "lfs inside": "\nversion https://git-lfs.github.com/spec/v1\n",
		"gzip inside": "\x00\x1f\x8b\x08", "gzip, not deflate": "\x1f\x8b\x00", "page inside": "disk <html>", "php": "<?php", "htm": "<htm", "xm": "<?xm",
		"ustar": at(1024, 257, "ustar\x00"+"00"), "koly": at(4096, 4096-512, "koly"), "conectix inside": at(4096, 1024, "conectix"), "conectix": at(4096, 4096-512, "conectix"),
		"page of ls.html": "text", "disk.img.qcow2.raw": "text", "qcow2": "text",
	} {
		writeFile(t, text, dir, name)
		mustRun(t, dir, "create", "-q", "-b", name, "-F", "raw", "want")
		if r := run(t, dir, "create", "-q", "-b", name, "--detect-backing-format", "--standalone-backing", "got"); r.Code != 0 || r.Stderr != "" {
			t.Errorf("%s: create fails: %s", name, r.Stderr)
		} else if readFile(t, dir, "got") != readFile(t, dir, "want") {
			t.Errorf("%s: the image is not that of -F raw", name)
		}
		if r := run(t, dir, "convert", "--standalone-source", "-O", "raw", name, "got.raw"); r.Code != 0 || r.Stderr != "" {
			t.Errorf("%s: convert fails: %s", name, r.Stderr)
		} else if got := readFile(t, dir, "got.raw"); len(text) < 1<<20 && strings.TrimRight(got, "\x00") != strings.TrimRight(text, "\x00") {
			t.Errorf("%s: convert changes the contents", name)
		}
	}
	mustRun(t, dir, "create", "-q", "disk.qcow2", "1M")
	mustRun(t, dir, "create", "-q", "-b", "disk.qcow2", "--detect-backing-format", "got")
	mustRun(t, dir, "convert", "--standalone-source", "-O", "raw", "disk.qcow2", "got.raw")
}
