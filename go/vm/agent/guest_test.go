package agent_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/agent"
	"github.com/rules-qcow2/rules_qcow2/guest/initrd"
)

// The tests of this file boot a guest. They run if these variables are set:
//
//	AGENT_TEST_KERNEL  a kernel for x86_64 with virtio_console
//	AGENT_TEST_INITRD  a distribution's initrd
//	AGENT_TEST_DISK    a raw image with a root file system of that distribution
//
// With the kernel alone, the agent is all there is in the guest. CPU and load of
// the machine decide how long a boot takes.

const bootTimeout = 5 * time.Minute

// boot starts QEMU with the agent in front of the initrd, if there is one.
func boot(t *testing.T, distro, kernelArgs string, qemuArgs ...string) (context.Context, *agent.Client, *exec.Cmd) {
	t.Helper()
	kernel := os.Getenv("AGENT_TEST_KERNEL")
	if kernel == "" {
		t.Skip("AGENT_TEST_KERNEL is not set")
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := initrd.Write(&archive, binary); err != nil {
		t.Fatal(err)
	}
	if distro != "" {
		b, err := os.ReadFile(distro)
		if err != nil {
			t.Fatal(err)
		}
		archive.Write(b)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "initrd"), archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	conn, guest := pair(t)
	console := filepath.Join(dir, "console")
	cmd := exec.Command("qemu-system-x86_64", append([]string{
		// TCG runs the "rep movs" of CPUs with ERMS and FSRM one byte at a time.
		"-M", "q35", "-m", "1G", "-cpu", "max,erms=off,fsrm=off", "-nodefaults", "-nographic", "-no-reboot",
		"-kernel", kernel, "-initrd", filepath.Join(dir, "initrd"),
		"-append", "console=ttyS0 panic=-1 " + initrd.KernelArg + " " + kernelArgs,
		"-serial", "file:" + console, "-chardev", "socket,fd=3,id=agent",
	}, qemuArgs...)...)
	cmd.ExtraFiles = []*os.File{guest}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	guest.Close()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if b, err := os.ReadFile(console); err == nil && t.Failed() {
			t.Logf("console:\n%s", b[max(0, len(b)-4000):])
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), bootTimeout)
	t.Cleanup(cancel)
	start := time.Now()
	c, err := agent.New(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Logf("first answer after %v from %+v", time.Since(start), c.Info())
	return ctx, c, cmd
}

var (
	virtioSerial = []string{"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=org.rules-qcow2.agent.0"}
	serialLine   = []string{"-serial", "chardev:agent"}
)

// disk is a copy-on-write NVMe disk.
func disk(t *testing.T) []string {
	image := os.Getenv("AGENT_TEST_DISK")
	if image == "" {
		t.Skip("AGENT_TEST_DISK is not set")
	}
	return []string{"-drive", "file=" + image + ",if=none,id=disk,format=raw,snapshot=on", "-device", "nvme,drive=disk,serial=disk"}
}

// powerOff expects QEMU to end because the guest powered off.
func powerOff(t *testing.T, ctx context.Context, c *agent.Client, qemu *exec.Cmd) {
	t.Helper()
	if err := c.PowerOff(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Done():
	case <-ctx.Done():
		t.Fatal("the guest did not power off")
	}
	if err := qemu.Wait(); err != nil {
		t.Error(err)
	}
}

// A guest that is nothing but a kernel and the agent.
func TestBareKernel(t *testing.T) {
	for name, args := range map[string][]string{"virtio-serial": virtioSerial, "serial line": serialLine} {
		t.Run(name, func(t *testing.T) {
			kernelArgs := ""
			if name == "serial line" {
				kernelArgs = "rules_qcow2.tty=ttyS1"
			}
			ctx, c, qemu := boot(t, "", kernelArgs, args...)
			if info := c.Info(); !info.Initrd || info.PID1 != "agent" {
				t.Errorf("got %+v", info)
			}
			// The guest has only this program.
			_, stderr, r := run(t, ctx, c, agent.Command{Args: []string{"/rules_qcow2/agent", "-help"}})
			if !strings.HasPrefix(stderr, "Usage") || !r.Success() {
				t.Errorf("got %q, %v", stderr, r)
			}
			if err := c.WriteFile(ctx, "/tmp/file", []byte("content"), 0o600); err != nil {
				t.Error(err)
			}
			want := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
			if err := c.SetClock(ctx, want); err != nil {
				t.Error(err)
			}
			if got, err := c.Clock(ctx); err != nil || got.Before(want) || got.After(want.Add(bootTimeout)) {
				t.Errorf("the clock is %v, %v; want %v", got, err, want)
			}
			if err := c.AddEntropy(ctx, []byte("seed")); err != nil {
				t.Error(err)
			}
			if err := c.AddEntropy(ctx, nil); err == nil {
				t.Error("an empty seed was accepted")
			}
			// Loopback is up: nothing listens, but there is a way.
			if _, err := c.Dial(ctx, "tcp", "127.0.0.1:80"); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("Dial: %v", err)
			}
			powerOff(t, ctx, c, qemu)
		})
	}
}

// An unmodified distribution, with its initrd and without.
func TestDistribution(t *testing.T) {
	for _, distro := range []string{os.Getenv("AGENT_TEST_INITRD"), ""} {
		t.Run("initrd="+filepath.Base(distro), func(t *testing.T) {
			ctx, c, qemu := boot(t, distro, "root=/dev/nvme0n1 rw", append(disk(t), virtioSerial...)...)
			if info := c.Info(); info.Initrd || info.PID1 != "systemd" || info.OSID == "" {
				t.Errorf("got %+v", info)
			}
			// The agent is there long before systemd accepts connections.
			for {
				stdout, _, r := run(t, ctx, c, agent.Command{Args: []string{"systemctl", "is-system-running", "--wait"}})
				if stdout == "running\n" {
					break
				}
				if stdout == "degraded\n" {
					t.Fatalf("the system is %q, %v", stdout, r)
				}
			}
			// The agent did not change what the guest mounts.
			if stdout, _, _ := run(t, ctx, c, agent.Command{Args: []string{"findmnt", "-n", "-o", "SOURCE,TARGET", "/"}}); strings.Join(strings.Fields(stdout), " ") != "/dev/nvme0n1 /" {
				t.Errorf("root is %q", stdout)
			}
			if got, err := c.ReadFile(ctx, "/proc/self/oom_score_adj"); err != nil || string(got) != "-1000\n" {
				t.Errorf("oom_score_adj of the agent is %q, %v", got, err)
			}
			if stdout, _, _ := run(t, ctx, c, agent.Command{Args: []string{"cat", "/proc/self/oom_score_adj"}}); stdout != "0\n" {
				t.Errorf("oom_score_adj of a command is %q", stdout)
			}
			// Commands that leave their process group and fork as fast as they can
			// die with the request.
			short, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			c.Run(short, agent.Command{Args: []string{"sh", "-c", `f() { setsid sleep 1000 & while :; do (f) & sleep 0.05; done; }; f`}})
			if stdout, _, _ := run(t, ctx, c, agent.Command{Args: []string{"pgrep", "-c", "-r", "R,S,D", "sleep"}}); stdout != "0\n" {
				t.Errorf("%s processes are left", strings.TrimSpace(stdout))
			}
			powerOff(t, ctx, c, qemu)
		})
	}
}
