package cli_test

import (
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// TestOptionHelp compares the list of options with qemu-img's. Only known options
// may be missing or have another text.
func TestOptionHelp(t *testing.T) {
	needSameCommandLine(t)
	dir := t.TempDir()
	theirs := map[string]bool{}
	for line := range strings.Lines(qemuimg.Must(t, dir, "create", "-f", "qcow2", "-o", "help")) {
		theirs[line] = true
	}
	ours := mustRun(t, dir, "create", "-o", "help")
	for line := range strings.Lines(ours) {
		if !theirs[line] && !strings.HasPrefix(line, "  preallocation=<str>    - Preallocation mode (allowed values: off, metadata)") {
			t.Errorf("qemu-img does not have %q", line)
		}
		delete(theirs, line)
	}
	for line := range theirs {
		name := strings.TrimSpace(line)
		if strings.Contains(line, "=<") && !strings.HasPrefix(name, "encrypt") && !strings.HasPrefix(name, "preallocation=") {
			t.Errorf("list does not have %q", line)
		}
	}
}

// TestOptionHelpAnywhere asks for help in all positions where qemu-img prints it,
// and where "help" means something else (iotest 082).
func TestOptionHelpAnywhere(t *testing.T) {
	dir := t.TempDir()
	want := mustRun(t, dir, "create", "-o", "help")
	for _, args := range []string{
		"-o help t.qcow2 128M", "-o ? t.qcow2 128M", "-o cluster_size=4k,help t.qcow2 128M", "-o cluster_size=4k,? t.qcow2 128M", "-o help,cluster_size=4k t.qcow2 128M",
		"-o cluster_size=4k -o help t.qcow2 128M", "-o foo=bar,help", "-o help,foo", "-f qcow2 -o help", "-q -o help", "t.qcow2 1M 2M -o help", "-o help t.qcow2 foo", "-o help file:t.qcow2", "-o help ./a:b",
		"-o help,, t.qcow2", "-o help, t.qcow2", "-o help=on", "-o nohelp", "-o help -f raw", "-o help a:b", "-o backing_file=a,,help -u -F raw t.qcow2 1M", "-o HELP",
	} {
		args := append([]string{"create", "-f", "qcow2"}, strings.Fields(args)...)
		theirs := qemuimg.Run(t, dir, args...)
		helped := theirs.Code == 0 && strings.HasPrefix(theirs.Stdout, "Supported")
		ours := run(t, dir, args...)
		if got := ours.Code == 0 && ours.Stdout == want; got != helped && args[len(args)-1] != "raw" {
			t.Errorf("%q: help is %t, qemu-img's is %t", args, got, helped)
		}
	}
}

func TestHelp(t *testing.T) {
	dir := t.TempDir()
	for _, args := range []string{"--help", "-h", "create --help", "create -h", "create -qh", "create x 1M --he --foo", "info -h", "info --help"} {
		if out := mustRun(t, dir, strings.Fields(args)...); !strings.HasPrefix(out, "Usage:\n  qcow2gen ") {
			t.Errorf("%s prints %q", args, out)
		}
	}
	// The first of the two counts.
	checkRefused(t, run(t, dir, "create", "--foo", "--help"), "--foo")
}
