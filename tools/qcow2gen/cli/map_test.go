package cli_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuscript"
)

// TestMapRandomChains compares the output of map with qemu-img's, on chains that
// QEMU made and on parts of them.
func TestMapRandomChains(t *testing.T) {
	for seed := range uint64(4) {
		dir := t.TempDir()
		top := qemuscript.Make(t, dir, 1000+seed).Layers[0]
		r := rand.New(rand.NewPCG(seed, 0))
		for _, args := range [][]string{
			{"--output=json"},
			{"--output", "human"},
			{"--output=json", "-s", fmt.Sprint(r.IntN(10 << 20)), "-l", fmt.Sprint(r.IntN(1 << 20))},
		} {
			compareOutput(t, dir, append([]string{"map", "-f", top.Format, top.Name}, args...)...)
		}
	}
}

var compressedMember = regexp.MustCompile(`, "compressed": (true|false)`)

// compareOutput compares standard output and exit code with qemu-img's. Both or
// none must write to standard error.
func compareOutput(t *testing.T, dir string, args ...string) {
	t.Helper()
	ours, theirs := run(t, dir, args...), qemuimg.Run(t, dir, args...)
	if !strings.Contains(theirs.Stdout, `"compressed"`) { // QEMU before 8.2
		ours.Stdout = compressedMember.ReplaceAllString(ours.Stdout, "")
	}
	if ours.Stdout != theirs.Stdout || ours.Code != theirs.Code || (ours.Stderr == "") != (theirs.Stderr == "") {
		t.Errorf("%q: exit code %d, output\n%s%sqemu-img has exit code %d, output\n%s%s",
			args, ours.Code, ours.Stdout, ours.Stderr, theirs.Code, theirs.Stdout, theirs.Stderr)
	}
}

func TestMap(t *testing.T) {
	dir := t.TempDir()
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "empty.qcow2", "0")
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "base.qcow2", "1M")
	qemuimg.IO(t, dir, "base.qcow2", "write -q 0 100k", "write -q 300k 1k")
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "./a:b")
	qemuimg.IO(t, dir, "./a:b", "write -q 200k 100k", "write -q -z 0 64k")
	qemuimg.Must(t, dir, "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", "base.qcow2", "compressed.qcow2")
	for _, args := range []string{
		"empty.qcow2", "empty.qcow2 --output=json", "base.qcow2", "./a:b", "file:a:b", "-U ./a:b --output json",
		"compressed.qcow2", "compressed.qcow2 --output=json",
		"base.qcow2 -f raw", "base.qcow2 -f raw --output=json",
		"-s 64k base.qcow2", "-s64k -l1.5k base.qcow2", "--start-offset=1M --max-length 1 base.qcow2 --output=json", "-s 1G base.qcow2 --output=json", "-l 0 base.qcow2",
		"-l 0 --output=json base.qcow2", "-s 1000 --output=json base.qcow2",
		// What is refused.
		"-s -1 base.qcow2", "-s 8E base.qcow2", "-s x base.qcow2", "-l 1x base.qcow2", "--output=xml base.qcow2", "base.qcow2 base.qcow2", "", "missing.qcow2", "-f vmdk base.qcow2", "--foo base.qcow2", "-l 99999999999999999999 base.qcow2",
	} {
		compareOutput(t, dir, append([]string{"map"}, strings.Fields(args)...)...)
	}
	for args, word := range map[string]string{
		"--image-opts base.qcow2": "--image-opts", "--object x base.qcow2": "--object", "-s 8E base.qcow2": "9223372036854775807", "nbd://x": "protocol", ".": "directory", "missing.qcow2": "missing.qcow2: no such file",
	} {
		mustRefuse(t, dir, []string{word}, append([]string{"map"}, strings.Fields(args)...)...)
	}
}
