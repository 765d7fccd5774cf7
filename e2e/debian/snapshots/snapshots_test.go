// Package snapshots_test resumes Debian guests that the build booted.
package snapshots_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
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
			checkClock(t, m, 100*time.Millisecond)
		})
	}
}

// Machines that resumed boot again, whichever way the agent gets into the guest, and so do
// forks of machines that resumed.
func TestReboot(t *testing.T) {
	for machine, reboots := range map[string][]func(*vmtest.Machine){
		"BOOTED":      {(*vmtest.Machine).Reboot, (*vmtest.Machine).Reset},
		"BOOTED_UEFI": {(*vmtest.Machine).Reboot},
	} {
		t.Run(machine, func(t *testing.T) {
			t.Parallel()
			resumed := vmtest.Start(t, os.Getenv(machine), vmtest.WithSaveable())
			resumed.Run("echo text >/root/file")
			fork := resumed.Fork(t)
			for _, reboot := range reboots {
				before := fork.Run("sync; cat /proc/sys/kernel/random/boot_id")
				reboot(fork)
				fork.WaitForUnit("multi-user.target")
				if after := fork.Run("cat /proc/sys/kernel/random/boot_id"); after == before {
					t.Errorf("the guest is in the boot %s again", after)
				}
				if got := fork.Run("cat /root/file"); got != "text\n" {
					t.Errorf("the file is %q", got)
				}
				// The clock of a guest that boots under emulation on a busy host is some seconds behind.
				checkClock(t, fork, 20*time.Second)
			}
		})
	}
}

// checkClock checks that the guest's clock is the host's.
func checkClock(t *testing.T, m *vmtest.Machine, tolerance time.Duration) {
	t.Helper()
	client, err := m.VM.Agent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	now, err := client.Clock(t.Context())
	after := time.Now()
	if err != nil || now.Before(before.Add(-tolerance)) || now.After(after.Add(tolerance)) {
		t.Errorf("the guest's clock shows %v, the host's %v to %v (%v)", now, before, after, err)
	}
}

// after_resume runs once in each machine.
func TestAfterResume(t *testing.T) {
	first, second := vmtest.Start(t, os.Getenv("BOOTED")), vmtest.Start(t, os.Getenv("BOOTED"))
	a, b := first.Run("cat /run/resumed"), second.Run("cat /run/resumed")
	if a == b || strings.Count(a, "\n") != 1 || strings.Count(b, "\n") != 1 {
		t.Errorf("the machines have %q and %q", a, b)
	}
}

// A machine does not start whose after_resume fails, or whose agent is killed by it.
func TestAfterResumeFails(t *testing.T) {
	for line, want := range map[string][]string{
		reasonAndFail:   {`the machine did not resume: after_resume "echo the reason >&2; exit 3": exit status 3`, "| the reason"},
		"kill -9 $PPID": {`the machine did not resume: after_resume "kill -9 $PPID": the guest closed the connection to its agent`},
	} {
		c, err := machine.Read(withAfterResume(t, line), runfiles.Rlocation)
		if err != nil {
			t.Fatal(err)
		}
		m, err := vm.Start(t.Context(), c, vm.Options{Dir: t.TempDir()})
		if err == nil {
			m.Close()
		}
		for _, want := range want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got error %v, want %q", err, want)
			}
		}
	}
}

// reasonAndFail is an after_resume that fails.
const reasonAndFail = "echo the reason >&2; exit 3"

// withAfterResume returns the path of the snapshot's program with another after_resume. The
// program itself is elsewhere.
func withAfterResume(t *testing.T, line string) string {
	t.Helper()
	var config map[string]any
	b, err := os.ReadFile(booted(t) + machine.Suffix)
	if err == nil {
		err = json.Unmarshal(b, &config)
	}
	if err != nil {
		t.Fatal(err)
	}
	config["machine"].(map[string]any)["snapshot"].(map[string]any)["after_resume"] = line
	program := filepath.Join(t.TempDir(), "changed")
	if b, err = json.Marshal(config); err == nil {
		err = os.WriteFile(program+machine.Suffix, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// booted returns the path of the snapshot's program.
func booted(t *testing.T) string {
	t.Helper()
	program, err := runfiles.Rlocation(os.Getenv("BOOTED"))
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// `bazel run` of a snapshot runs it as well, and says if it fails.
func TestAfterResumeOnTerminal(t *testing.T) {
	cmd := exec.Command(booted(t))
	cmd.Args[0] = withAfterResume(t, reasonAndFail)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	if _, err := cmd.StdinPipe(); err != nil { // QEMU reads from it
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Signal(syscall.SIGTERM)
	for messages := bufio.NewScanner(stderr); messages.Scan(); {
		if strings.Contains(messages.Text(), `after_resume "echo the reason >&2; exit 3": exit status 3`) {
			return
		}
	}
	t.Error("it did not say that after_resume failed")
}

// The first random numbers of two machines differ.
func TestRandomNumbers(t *testing.T) {
	var drawn []string
	for range 2 {
		m := vmtest.Start(t, os.Getenv("BOOTED_DEBIAN12"))
		drawn = append(drawn, string(m.ReadFile("/proc/sys/kernel/random/uuid")))
	}
	if drawn[0] == drawn[1] {
		t.Errorf("two machines drew %q", drawn[0])
	}
}

// A machine has vmgenid if its qemu_args ask for it, and the guest's kernel then hears of
// the resume.
func TestVMGENID(t *testing.T) {
	for machine, has := range map[string]bool{"BOOTED_UEFI": true, "BOOTED": false} {
		m := vmtest.Start(t, os.Getenv(machine))
		messages := m.Run("dmesg")
		if got := strings.Contains(messages, "reseeded due to virtual machine fork"); got != has {
			t.Errorf("%s: the kernel says that the machine is a fork: %t, want %t", machine, got, has)
		}
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
	server := vmtest.Start(t, os.Getenv("BOOTED"), vmtest.WithNetwork(net), vmtest.WithName("server"))
	client := vmtest.Start(t, os.Getenv("BOOTED"), vmtest.WithNetwork(net), vmtest.WithName("client"))
	server.Run("systemd-run --quiet systemd-socket-activate --listen=80 --accept --inetd echo hello from the server")
	get := vm.Command{Args: []string{"bash", "-c", "cat </dev/tcp/server/80"}}
	if err := client.VM.WaitFor(t.Context(), get, time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := client.Run("bash -c 'cat </dev/tcp/server/80'"); got != "hello from the server\n" {
		t.Errorf("got %q", got)
	}
}

// A machine that is frozen while it writes has a file system that e2fsck calls clean:
// once it has replayed the journal, as after a power cut, and after a fork has gone on
// and powered off.
func TestFreezeWhileWriting(t *testing.T) {
	m := vmtest.Start(t, os.Getenv("BOOTED"), vmtest.WithSaveable())
	m.Run("systemd-run --quiet sh -c 'while :; do cp -r /usr/lib/systemd /root/copy; rm -r /root/copy; done'")
	m.Run("sleep 1")
	m.Freeze()
	if frozen := rawDisk(t, m); e2fsck(t, 1, "-p", frozen) {
		e2fsck(t, 0, "-f", "-n", frozen)
	}
	f := m.Fork(t)
	f.Run("systemctl is-system-running && touch /root/after && sync")
	f.PowerOff()
	e2fsck(t, 0, "-f", "-n", rawDisk(t, f))
}

// rawDisk copies the machine's disk to a file.
func rawDisk(t *testing.T, m *vmtest.Machine) string {
	t.Helper()
	qemuImg, err := runfiles.Rlocation(os.Getenv("QEMU_IMG"))
	if err != nil {
		t.Fatal(err)
	}
	raw := filepath.Join(t.TempDir(), "root")
	if out, err := exec.Command(qemuImg, "convert", "-O", "raw", m.VM.Layers()[0], raw).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return raw
}

// e2fsck reports whether e2fsck ends with at most a status: 0 means that the file
// system is clean, 1 that it was repaired.
func e2fsck(t *testing.T, status int, args ...string) bool {
	t.Helper()
	program := "e2fsck"
	if _, err := exec.LookPath(program); err != nil {
		program = "/usr/sbin/e2fsck"
	}
	cmd := exec.Command(program, args...)
	out, err := cmd.CombinedOutput()
	t.Logf("%s: %s", cmd, out)
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() < 0 || cmd.ProcessState.ExitCode() > status {
		t.Errorf("%s: %v", cmd, err)
		return false
	}
	return true
}

// What a guest has in its page cache is on its disk when it is saved: the machines that
// resume do not write it again.
func TestWrittenBeforeSave(t *testing.T) {
	m := vmtest.Start(t, os.Getenv("BOOTED"), vmtest.WithSaveable())
	m.Run("head -c 8M /dev/zero >/root/unwritten")
	m.Freeze()
	dirty := strings.Fields(m.Fork(t).Run("grep ^Dirty: /proc/meminfo"))[1]
	if kib, err := strconv.Atoi(dirty); err != nil || kib > 4<<10 {
		t.Errorf("the guest has still to write %s KiB (%v)", dirty, err)
	}
}

// A service that writes the time every 10 ms never sees the time of the save, and the clock
// of the hardware agrees with that of the system.
func TestServiceSeesItsOwnTime(t *testing.T) {
	m := vmtest.Start(t, os.Getenv("BOOTED"), vmtest.WithSaveable())
	// Without another process, which the agent could overtake.
	m.Run("mkfifo /run/never && systemd-run --quiet --unit=times bash -c 'while :; do echo $EPOCHREALTIME; read -t 0.01 -u 9; done >/run/times 9<>/run/never'")
	m.Run("while [ ! -s /run/times ]; do sleep 0.1; done")
	m.Freeze()
	time.Sleep(time.Second)
	var times [2][]string
	var starts [2]time.Time
	for i := range times {
		starts[i] = time.Now()
		f := m.Fork(t)
		f.Run("sleep 1")
		times[i] = strings.Fields(f.Run("cat /run/times"))
		if hardware, err := strconv.ParseInt(strings.TrimSpace(f.Run("cat /sys/class/rtc/rtc0/since_epoch")), 10, 64); err != nil || time.Since(time.Unix(hardware, 0)).Abs() > 2*time.Second {
			t.Errorf("the clock of the hardware shows %v, %v", hardware, err)
		}
	}
	// What both have is from before the save.
	saved := 0
	for saved < min(len(times[0]), len(times[1])) && times[0][saved] == times[1][saved] {
		saved++
	}
	for i, list := range times {
		if saved == 0 || saved == len(list) {
			t.Errorf("fork %d wrote %d times, %d of them before the save", i, len(list), saved)
		}
		for _, text := range list[saved:] {
			seconds, err := strconv.ParseFloat(text, 64)
			if start := float64(starts[i].UnixMicro()) / 1e6; err != nil || seconds < start-0.1 {
				t.Errorf("the service saw the time %s in a fork that started at %f (%v)", text, start, err)
			}
		}
	}
}
