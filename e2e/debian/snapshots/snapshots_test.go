// Package snapshots_test resumes Debian guests that the build booted.
package snapshots_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

// Both kinds of machines go on from where they were saved.
func TestResume(t *testing.T) {
	for _, machine := range []string{"BOOTED", "BOOTED_UEFI"} {
		t.Run(machine, func(t *testing.T) {
			m := vmtest.Start(t, os.Getenv(machine))
			if got := m.Run("systemctl is-system-running"); got != "running\n" {
				t.Errorf("the system is %q", got)
			}
			m.Run("echo text >/root/file && sync && systemd-run --wait --quiet true")
			if got := m.Run("cat /root/file"); got != "text\n" {
				t.Errorf("the file is %q", got)
			}
			now, err := strconv.ParseInt(strings.TrimSpace(m.Run("date +%s")), 10, 64)
			if d := time.Since(time.Unix(now, 0)); err != nil || d.Abs() > 10*time.Second {
				t.Errorf("the guest's clock is %v behind (%v)", d, err)
			}
		})
	}
}

// Eight machines at the same time draw different random numbers, and do not see
// each other's files.
func TestParallel(t *testing.T) {
	seen := make(chan string, 8)
	t.Run("machines", func(t *testing.T) {
		for i := range cap(seen) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				m := vmtest.Start(t, os.Getenv("BOOTED"))
				seen <- m.Run("head -c 16 /dev/urandom | od -An -tx1; cat /proc/sys/kernel/random/uuid")
				m.Run("test ! -e /root/mine && echo mine >/root/mine && sync")
			})
		}
	})
	close(seen)
	all := map[string]bool{}
	for random := range seen {
		if all[random] {
			t.Errorf("two machines drew %q", random)
		}
		all[random] = true
	}
}

// Two machines from one snapshot, on a network that did not exist when it was
// saved.
func TestNetwork(t *testing.T) {
	net := vmtest.Network(t)
	server := vmtest.Start(t, os.Getenv("BOOTED"), vm.On(net), vm.Named("server"))
	client := vmtest.Start(t, os.Getenv("BOOTED"), vm.On(net), vm.Named("client"))
	server.Run("systemd-run --quiet systemd-socket-activate --listen=80 --accept --inetd echo hello from the server")
	get := vm.Command{Args: []string{"bash", "-c", "cat </dev/tcp/server/80"}}
	if err := client.Machine.WaitFor(t.Context(), get, time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := client.Run("bash -c 'cat </dev/tcp/server/80'"); got != "hello from the server\n" {
		t.Errorf("got %q", got)
	}
}

// A machine that is frozen while it writes has a file system that e2fsck repairs
// by its journal alone, as after a power cut.
func TestFreezeWhileWriting(t *testing.T) {
	m := vmtest.Start(t, os.Getenv("BOOTED"), vm.Saveable())
	m.Run("systemd-run --quiet sh -c 'while :; do cp -r /usr/lib/systemd /root/copy; rm -r /root/copy; done'")
	m.Run("sleep 1")
	m.Freeze()
	f := m.Fork(t)
	f.Run("systemctl is-system-running && touch /root/after && sync")
	f.PowerOff()
	qemuImg, err := runfiles.Rlocation(os.Getenv("QEMU_IMG"))
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root")
	if out, err := exec.Command(qemuImg, "convert", "-O", "raw", f.Layers()[0], root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	e2fsck := "e2fsck"
	if _, err := exec.LookPath(e2fsck); err != nil {
		e2fsck = "/usr/sbin/e2fsck"
	}
	if out, err := exec.Command(e2fsck, "-f", "-n", root).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
