package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuscript"
	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/cli"
)

// qcow2gen runs qcow2gen with the imports of this package.
func qcow2gen(args ...string) qemuimg.Result {
	var stdout, stderr bytes.Buffer
	code := cli.Main(append([]string{"qcow2gen"}, args...), nil, &stdout, &stderr)
	return qemuimg.Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: code}
}

func must(t *testing.T, args ...string) {
	t.Helper()
	if r := qcow2gen(args...); r.Code != 0 || r.Stdout != "" || r.Stderr != "" {
		t.Fatalf("qcow2gen %q: %+v", args, r)
	}
}

// randomTarget returns random options of a target and its format.
func randomTarget(r *rand.Rand) (options []string, format string) {
	if r.IntN(5) == 0 {
		return nil, "raw"
	}
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	if r.IntN(2) == 0 {
		options = append(options, "-c")
	}
	list := "cluster_size=" + pick("512", "4k", "64k", "64k", "128k", "2M")
	switch {
	case r.IntN(6) == 0:
		list += ",compat=0.10"
	default:
		list += ",compression_type=" + pick("zlib", "zstd") + ",refcount_bits=" + pick("1", "8", "16", "16", "64")
		if !strings.Contains(list, "=512,") && !strings.Contains(list, "=4k,") {
			list += ",extended_l2=" + pick("on", "off")
		}
	}
	return append(options, "-o", list), "qcow2"
}

// TestConvertRandom converts random chains to random formats. QEMU compares the
// target with the source and checks it, and it is the same for 1, 2 and 7 workers.
// Then QEMU converts the target, and qcow2gen converts that.
func TestConvertRandom(t *testing.T) {
	qemuscript.Seeds(t, 40, func(t *testing.T, seed uint64) {
		dir := t.TempDir()
		chain := qemuscript.Make(t, dir, seed)
		in := func(name string) string { return filepath.Join(dir, name) }
		r := rand.New(rand.NewPCG(seed, 17))
		top := chain.Layers[0]
		source := []string{"-f", top.Format}
		want := top.Name
		if len(top.Snapshots) > 0 && r.IntN(2) == 0 {
			source = append(source, "-l", top.Snapshots[0])
			qemuimg.Must(t, dir, append([]string{"convert", "-O", "raw"}, append(source, top.Name, "want.raw")...)...)
			want, top.Format = "want.raw", "raw"
		}
		options, format := randomTarget(r)
		if r.IntN(8) == 0 {
			options = append(options, "-S", "0")
		}
		args := append(append([]string{"convert", "-O", format}, options...), source...)
		t.Log(args)
		var images []string
		for _, workers := range []string{"1", "2", "7"} {
			must(t, append(args, "-m", workers, in(chain.Layers[0].Name), in("out"+workers))...)
			b, err := os.ReadFile(in("out" + workers))
			if err != nil {
				t.Fatal(err)
			}
			images = append(images, string(b))
		}
		if images[0] != images[1] || images[0] != images[2] {
			t.Error("the image depends on the number of workers")
		}
		compare(t, dir, top.Format, want, format, "out1")
		theirs, theirFormat := randomTarget(r)
		qemuimg.Must(t, dir, append(append([]string{"convert", "-f", format, "-O", theirFormat}, theirs...), "out1", "theirs")...)
		must(t, "convert", "-f", theirFormat, "-O", "qcow2", in("theirs"), in("back"))
		compare(t, dir, top.Format, want, "qcow2", "back")
	})
}

// compare lets QEMU compare two images and check the second.
func compare(t *testing.T, dir, wantFormat, want, gotFormat, got string) {
	t.Helper()
	if r := qemuimg.Run(t, dir, "compare", "-f", wantFormat, "-F", gotFormat, want, got); r.Code != 0 || r.Stdout != "Images are identical.\n" {
		t.Errorf("qemu-img compare: %+v", r)
	}
	if gotFormat != "qcow2" {
		return
	}
	if r := qemuimg.Run(t, dir, "check", "-f", "qcow2", got); r.Code != 0 {
		t.Errorf("qemu-img check: %+v", r)
	}
}

// TestConvertBacking writes the differences between two disks as a layer on the
// older one.
func TestConvertBacking(t *testing.T) {
	qemuscript.Seeds(t, 20, func(t *testing.T, seed uint64) {
		dir := t.TempDir()
		in := func(name string) string { return filepath.Join(dir, name) }
		chain := qemuscript.Make(t, dir, seed)
		r := rand.New(rand.NewPCG(seed, 18))
		base := chain.Layers[0]
		qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-b", base.Name, "-F", base.Format, "new.qcow2")
		for range r.IntN(6) {
			qemuimg.IO(t, dir, "new.qcow2", fmt.Sprintf("write -q -P %d %d %d", r.IntN(256), r.IntN(1<<20)&^511, 512+r.IntN(300<<10)&^511))
		}
		options, format := randomTarget(r)
		if format == "raw" {
			options, format = []string{"-o", "extended_l2=on"}, "qcow2"
		}
		args := append([]string{"convert", "-O", format}, options...)
		t.Log(args)
		must(t, append(args, "-b", base.Name, "-F", base.Format, in("new.qcow2"), in("layer.qcow2"))...)
		compare(t, dir, "qcow2", "new.qcow2", "qcow2", "layer.qcow2")
		// A standalone copy of the same contents on the same base stores nothing
		// that the base has.
		must(t, append(args, "-b", base.Name, "-F", base.Format, in(base.Name), in("same.qcow2"))...)
		compare(t, dir, base.Format, base.Name, "qcow2", "same.qcow2")
		for line := range strings.Lines(qemuimg.Must(t, dir, "map", "--output=json", "same.qcow2")) {
			if strings.Contains(line, `"depth": 0`) && strings.Contains(line, `"data": true`) {
				t.Errorf("layer without differences has data: %s", line)
			}
		}
	})
}
