package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/internal/bounded"
)

// speed is the package of e2e/debian with the tests.
const speed = "guest_tests/speed/"

// An insideTest is a test that runs outside and inside of a guest.
type insideTest struct {
	name   string
	target string   // in speed, without a suffix
	args   []string // of the test
	ssh    bool     // whether it is compared with the other ways
}

var insideTests = []insideTest{
	{"a Go test of 3 MB", "no_files", nil, true},
	{"1,000 files, 100 MB", "files_1000", []string{"-folder=" + speed + "files_1000", "-files=1000"}, true},
	{"10,000 files of 1 KB", "files_10000", []string{"-folder=" + speed + "files_10000", "-files=10000"}, true},
	{"256 MiB of output", "no_files", []string{"-output=256"}, false},
}

// inside measures tests in guests.
type inside struct {
	*measure.Env
	workspace   workspace         // e2e/debian
	executables map[string]string // of the tests, by target
	ssh, ninep  *vm.Snapshot
	share       string // the folder that 9p shows to the guest
}

// RunInside measures tests of e2e/debian in a checkout.
func RunInside(env *measure.Env, checkout string) ([]report.Table, error) {
	n := &inside{Env: env, workspace: workspace(filepath.Join(checkout, "e2e", "debian")), executables: map[string]string{}, share: env.Path("share")}
	if err := os.MkdirAll(n.share, 0o777); err != nil {
		return nil, err
	}
	targets := []string{speed + "ssh_vm", speed + "9p_vm", speed + "id", speed + "ssh"}
	for _, test := range insideTests {
		for _, suffix := range []string{"_test", "_inside_test"} {
			n.executables[test.target+suffix] = ""
		}
	}
	for target := range n.executables {
		targets = append(targets, speed+target)
	}
	err := n.workspace.build(targets...)
	for target := range n.executables {
		if err == nil {
			n.executables[target], err = n.workspace.executable(speed + target)
		}
	}
	if err == nil {
		n.ssh, err = n.save("ssh_vm", sshReady)
	}
	if err == nil {
		defer n.ssh.Close()
		n.ninep, err = n.save("9p_vm", "true", "-fsdev", "local,id=share,security_model=none,readonly=on,path="+n.share, "-device", "virtio-9p-pci,fsdev=share,mount_tag=share")
	}
	if err != nil {
		return nil, err
	}
	defer n.ninep.Close()
	table := report.Table{
		Name:  "inside",
		Title: "A test in a guest",
		Note: "The same test outside, and from its start to its result in Debian 13, which is resumed from a snapshot each time. " +
			"Tests run without Bazel's sandbox. `ssh, tar` sends the runfiles by `tar | ssh tar` over QEMU's user network, and runs the test by ssh. " +
			"`9p` copies the runfiles to a folder that the guest mounts; Debian's kernel for clouds does not have 9p, so this guest has another kernel, of gokrazy.",
		References: []string{"outside", "qemu_guest_test"},
	}
	for _, test := range insideTests {
		contestants := []measure.Contestant{
			{Name: "outside", Run: func() (measure.Sample, error) { return n.process(test, test.target+"_test", test.args) }},
			{Name: "qemu_guest_test", Run: func() (measure.Sample, error) { return n.process(test, test.target+"_inside_test", test.args) }},
		}
		if test.ssh {
			contestants = append(contestants,
				measure.Contestant{Name: "ssh, tar", Run: func() (measure.Sample, error) { return n.bySSH(test) }},
				measure.Contestant{Name: "9p", Run: func() (measure.Sample, error) { return n.by9p(test) }},
			)
		}
		comparison, err := measure.Compare(test.name, env.Rounds, contestants...)
		if err != nil {
			return nil, err
		}
		table.Comparisons = append(table.Comparisons, comparison)
	}
	return []report.Table{table}, nil
}

// runfiles returns the folder of a test's runfiles, and the test's program in it.
func (n *inside) runfiles(target string) (dir, program string) {
	path := n.executables[target]
	_, name, _ := strings.Cut(path, "/"+speed)
	return path + ".runfiles", filepath.Join("_main", speed, name)
}

// process runs a test as Bazel does, without its sandbox.
func (n *inside) process(test insideTest, target string, args []string) (sample measure.Sample, err error) {
	dir, program := n.runfiles(target)
	tmp, err := os.MkdirTemp(n.Dir, "tmp")
	if err != nil {
		return sample, err
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command(filepath.Join(dir, program), args...)
	cmd.Dir = filepath.Join(dir, "_main")
	cmd.Env = append(os.Environ(), "TEST_SRCDIR="+dir, "RUNFILES_DIR="+dir, "RUNFILES_MANIFEST_FILE=", "TEST_WORKSPACE=_main", "TEST_TMPDIR="+tmp)
	start := time.Now()
	err = runCommand(cmd)
	sample.Seconds = time.Since(start).Seconds()
	return sample, err
}

// runCommand runs a command, and reads its output.
func runCommand(cmd *exec.Cmd) error {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &bounded.Log{W: &stdout, Limit: 1 << 20}, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s%s", cmd, err, bytes.TrimSpace(stderr.Bytes()), bytes.TrimSpace(stdout.Bytes()))
	}
	return nil
}

// save boots a machine, runs a line there, and saves it.
func (n *inside) save(target, ready string, qemuArgs ...string) (*vm.Snapshot, error) {
	config, err := loadConfig(n.workspace.path(speed + target))
	if err != nil {
		return nil, err
	}
	config.QEMUArgs = append(config.QEMUArgs, machine.Arguments(qemuArgs...)...)
	config.Ready = &machine.Ready{Command: "systemctl is-system-running --wait"}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	dir := n.Path(target)
	if err := os.Mkdir(dir, 0o777); err != nil {
		return nil, err
	}
	m, err := vm.Start(ctx, config, vm.Options{Dir: dir, Agent: true, Saveable: true})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(m.WaitReady(ctx), shell(ctx, m, ready)); err != nil {
		m.Close()
		return nil, m.Report(err)
	}
	return m.Freeze(ctx)
}

// remote is where the runfiles are in the guest, for the other ways.
const remote = "/var/tmp/runfiles"

// command is the test's command line in the guest.
func (n *inside) command(test insideTest, program string) string {
	return fmt.Sprintf("cd %s/_main && TEST_SRCDIR=%s RUNFILES_DIR=%s %s/%s %s", remote, remote, remote, remote, program, strings.Join(test.args, " "))
}

// sshReady configures the network and starts the server, in a guest that has neither
// host keys nor something that configures the network.
const sshReady = `
dev=$(ls /sys/class/net | grep -v lo)
ip link set "$dev" up
ip address add 10.0.2.15/24 dev "$dev"
ssh-keygen -A
# Its end removes /run/sshd.
systemctl stop ssh.socket ssh.service 2>/dev/null || true
mkdir -p /run/sshd
/usr/sbin/sshd
`

func (n *inside) bySSH(test insideTest) (measure.Sample, error) {
	dir, program := n.runfiles(test.target + "_test")
	return runFork(n.Env, n.ssh, func(_ context.Context, m *vm.Machine) error {
		ssh, err := n.sshCommand(m.Ports()["tcp:22"])
		if err != nil {
			return err
		}
		send := exec.Command("/bin/sh", "-c", fmt.Sprintf("tar -C %s -ch . | %s 'mkdir -p %s && tar -C %s -x'", dir, ssh, remote, remote))
		if err := runCommand(send); err != nil {
			return err
		}
		return runCommand(exec.Command("/bin/sh", "-c", fmt.Sprintf("%s '%s'", ssh, n.command(test, program))))
	})
}

// sshCommand returns the command line of the client.
func (n *inside) sshCommand(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	// ssh refuses keys that others can read.
	key := n.Path("id")
	b, err := os.ReadFile(n.workspace.path(speed + "id"))
	if err == nil {
		err = os.WriteFile(key, b, 0o600)
	}
	return fmt.Sprintf("%s -F none -q -i %s -p %s -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@%s", n.workspace.path(speed+"ssh"), key, port, host), err
}

func (n *inside) by9p(test insideTest) (measure.Sample, error) {
	dir, program := n.runfiles(test.target + "_test")
	if err := os.RemoveAll(filepath.Join(n.share, "runfiles")); err != nil {
		return measure.Sample{}, err
	}
	return runFork(n.Env, n.ninep, func(ctx context.Context, m *vm.Machine) error {
		// The runfiles are links, which do not lead to anything in the guest.
		if err := runCommand(exec.Command("cp", "-rL", dir, filepath.Join(n.share, "runfiles"))); err != nil {
			return err
		}
		return shell(ctx, m, fmt.Sprintf("mkdir -p %s && mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 share /mnt && mount --bind /mnt/runfiles %s && %s", remote, remote, n.command(test, program)))
	})
}
