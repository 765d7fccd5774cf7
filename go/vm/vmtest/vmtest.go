// Package vmtest gives Go tests virtual machines: they start from a qemu_vm
// target, run commands, and end with the test.
//
//	func TestNginx(t *testing.T) {
//		m := vmtest.Start(t, os.Getenv("DEBIAN")) // $(rlocationpath :debian)
//		m.CopyTo("testdata/www", "/srv/www")
//		m.Run("systemctl start nginx")
//		m.WaitFor("curl --fail --silent localhost")
//	}
//
// Methods that return no error fail the test with t.Fatal, so call them from the
// test's goroutine or from its clean-up functions. For everything else there are the
// methods of [vm.Machine] that take a context: those of Machine.VM.
package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/network"
	"github.com/rules-qcow2/rules_qcow2/internal/bounded"
)

// A Machine is a virtual machine of a test.
type Machine struct {
	// VM is the machine itself.
	VM *vm.Machine

	t       testing.TB
	ctx     context.Context
	config  *machine.Config
	options vm.Options

	reported atomic.Bool // a message of the test has the end of the console

	// Guarded by freezing.
	snapshot  *vm.Snapshot // nil until the machine is frozen
	freezeErr error        // why it could not be frozen
}

// Start boots the machine of a qemu_vm target, given by its rlocation path, as
// from $(rlocationpath :vm), or by the absolute path of its executable. It
// returns when QEMU runs the guest; calls that need the guest's agent wait for
// it.
//
// The machine ends with the test. If the test has failed by then, its log has the end of
// the console, and its undeclared outputs have console.log, qemu.log, screenshot.png,
// command, which is a script that runs the machine again, and what
// [vm.VM.CollectLogs] collects.
//
// A message of [vm.DefaultFailOn] on the console, such as a kernel panic, ends
// the machine; calls that use it then fail with that message.
func Start(t testing.TB, target string, opts ...Option) *Machine {
	t.Helper()
	config, err := load(target)
	if err != nil {
		t.Fatalf("vmtest: %s: %v", target, err)
	}
	options := vm.Options{FailOn: vm.DefaultFailOn, Agent: true, Saveable: config.Snapshot == nil}
	config, options = apply(config, options, opts)
	return start(t, config, options, func(ctx context.Context, o vm.Options) (*vm.Machine, error) {
		return vm.Start(ctx, config, o)
	})
}

// start starts a machine that ends with the test, by run.
func start(t testing.TB, config *machine.Config, options vm.Options, run func(context.Context, vm.Options) (*vm.Machine, error)) *Machine {
	t.Helper()
	options.Dir, options.Logs = t.TempDir(), t.TempDir()
	ctx, closeTimeout := testContext(t)
	if options.CloseTimeout == 0 {
		options.CloseTimeout = closeTimeout
	}
	// Clean-ups run in reverse order: the machine ends, its logs are kept, the folders
	// are removed.
	t.Cleanup(func() {
		if t.Failed() {
			keepLogs(t, options.HostName(config), options.Logs)
		}
	})
	running, err := run(ctx, options)
	if err != nil {
		t.Fatalf("%s: %v", config.Target, err)
	}
	m := &Machine{VM: running, t: t, ctx: ctx, config: config, options: options}
	t.Cleanup(m.close)
	return m
}

// errTestFailed is reported of a machine whose own calls have not failed.
var errTestFailed = errors.New("the test failed while this machine ran")

// close ends the machine at the end of the test.
func (m *Machine) close() {
	if m.t.Failed() && !m.reported.Load() {
		m.VM.CollectLogs()
	}
	switch end := m.VM.Close(); {
	case m.reported.Load() || end.Frozen:
	case end.Failure != nil:
		m.t.Errorf("%s: %v", m.VM.Name(), m.VM.Report(end.Failure))
	case m.t.Failed():
		m.t.Logf("%s: %v", m.VM.Name(), m.VM.Report(errTestFailed))
	}
}

// Network makes a network between machines, which ends with the test. Attach a
// machine with [WithNetwork].
func Network(t testing.TB, opts ...network.Option) *network.Network {
	t.Helper()
	n, err := network.New(opts...)
	if err != nil {
		t.Fatalf("vmtest: %v", err)
	}
	return keepNetwork(t, n)
}

// keepNetwork closes a network at the end of the test.
func keepNetwork(t testing.TB, n *network.Network) *network.Network {
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("vmtest: %v", err)
		}
	})
	return n
}

// load reads the description of a machine next to its target's executable.
func load(target string) (*machine.Config, error) {
	path, err := locate(target)
	if err != nil {
		return nil, fmt.Errorf("it is neither an absolute path nor a runfile: %w", err)
	}
	if _, err := os.Stat(path + machine.Suffix); errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("it is not a qemu_vm in the test's data: use $(rlocationpath :vm) and data = [\":vm\"]")
	}
	return machine.Read(path, locate)
}

// locate returns the path of a runfile.
func locate(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	return runfiles.Rlocation(path)
}

// testContext returns a context that ends early enough before the test's deadline for a
// report, and the machine's Options.CloseTimeout, 0 without a deadline.
func testContext(t testing.TB) (ctx context.Context, closeTimeout time.Duration) {
	// Unlike t.Context, it is not canceled before clean-ups that use the machine.
	ctx = context.Background()
	deadliner, ok := t.(interface{ Deadline() (time.Time, bool) })
	if !ok {
		return ctx, 0
	}
	deadline, ok := deadliner.Deadline()
	if !ok {
		return ctx, 0
	}
	reserve, closeTimeout := vm.Reserve(time.Until(deadline))
	ctx, cancel := context.WithDeadlineCause(ctx, deadline.Add(-reserve), &vm.TimeError{Text: "the test's time limit is nearly over"})
	t.Cleanup(cancel)
	return ctx, closeTimeout
}

// keepLogs copies a failed test's logs to its undeclared outputs.
func keepLogs(t testing.TB, name, logs string) {
	outputs := os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR")
	if outputs == "" {
		return
	}
	dir, err := os.MkdirTemp(outputs, strings.ReplaceAll(t.Name(), "/", "_")+"_"+name+"_")
	if err == nil {
		err = os.CopyFS(dir, os.DirFS(logs))
	}
	if err != nil {
		t.Logf("vmtest: the logs of %s are lost: %v", name, err)
		return
	}
	t.Logf("vmtest: the logs of %s are in the test's outputs, folder %s", name, filepath.Base(dir))
}

// fatal ends the test, because of the call that what names.
func (m *Machine) fatal(what string, err error) {
	m.t.Helper()
	m.fail(fmt.Errorf("%s: %w", what, err))
}

// fail ends the test. The message has the end of the console.
func (m *Machine) fail(err error) {
	m.t.Helper()
	m.VM.CollectLogs() // Report names the failed units
	m.reported.Store(true)
	m.t.Fatalf("%s: %v", m.VM.Name(), m.VM.Report(err))
}

// maxOutput bounds, in bytes, the standard output that Run and Output return.
const maxOutput = 64 << 20

// Run runs a line for the guest's shell, /bin/sh, and returns its standard
// output. The test fails with the end of both outputs if the exit status is not
// 0. If the standard output is larger than 64 MiB, the command is killed and the
// test fails: use VM.Exec with Stdout for such commands.
func (m *Machine) Run(line string) string {
	m.t.Helper()
	return m.Output("/bin/sh", "-c", line)
}

// Output runs a program in the guest, without a shell, and returns its standard
// output, up to 64 MiB. The test fails as with Run.
func (m *Machine) Output(args ...string) string {
	m.t.Helper()
	output := bounded.Buffer{Limit: maxOutput}
	var stdout, stderr vm.Tail
	result, err := m.VM.Exec(m.ctx, vm.Command{Args: args, Stdout: io.MultiWriter(&stdout, &output), Stderr: &stderr})
	what := args[len(args)-1]
	if len(args) != 3 || args[0] != "/bin/sh" {
		what = fmt.Sprintf("%q", args)
	}
	if errors.Is(err, bounded.ErrFull) {
		err = fmt.Errorf("the standard output is larger than %d MiB; use VM.Exec with Stdout", maxOutput>>20)
	}
	if err != nil {
		m.fatal(what, err)
	}
	if !result.Success() {
		m.fatal(what, fmt.Errorf("%v%s", result, vm.Outputs(&stdout, &stderr)))
	}
	return output.String()
}

// WaitFor runs a line for the guest's shell until it succeeds. The test fails
// with the last failure if that takes until the test's deadline.
func (m *Machine) WaitFor(line string) {
	m.t.Helper()
	m.WaitForWithin(0, line)
}

// WaitForWithin is WaitFor with a limit, times Config.TimeLimitFactor. 0 is no limit but
// the test's deadline.
func (m *Machine) WaitForWithin(limit time.Duration, line string) {
	m.t.Helper()
	if err := m.VM.WaitFor(m.ctx, vm.Command{Args: []string{"/bin/sh", "-c", line}}, limit); err != nil {
		m.fatal("WaitFor", err)
	}
}

// WaitForUnit waits until a unit of systemd, as in "nginx.service", is active. The test
// fails at once, with the end of the unit's journal, if the unit has failed.
func (m *Machine) WaitForUnit(unit string) {
	m.t.Helper()
	if err := m.VM.WaitForUnit(m.ctx, unit, 0); err != nil {
		m.fatal("WaitForUnit", err)
	}
}

// WaitForPort waits until something accepts connections at a TCP port of the guest's
// 127.0.0.1. It needs no network and no program in the guest.
func (m *Machine) WaitForPort(port int) {
	m.t.Helper()
	if err := m.VM.WaitForPort(m.ctx, port, 0); err != nil {
		m.fatal("WaitForPort", err)
	}
}

// WaitForFile waits until a file, folder, device or socket exists in the guest.
func (m *Machine) WaitForFile(name string) {
	m.t.Helper()
	if err := m.VM.WaitForFile(m.ctx, name, 0); err != nil {
		m.fatal("WaitForFile", err)
	}
}

// Expect waits until the console has shown all patterns, in this order: see
// [vm.VM.Expect].
func (m *Machine) Expect(patterns ...string) {
	m.t.Helper()
	if err := m.VM.Expect(m.ctx, patterns...); err != nil {
		m.fail(err)
	}
}

// CopyTo copies the file or folder src of the host to the path dst in the guest, which
// is the name of the copy.
func (m *Machine) CopyTo(src, dst string) {
	m.t.Helper()
	if err := m.VM.CopyTo(m.ctx, src, dst); err != nil {
		m.fatal("CopyTo "+dst, err)
	}
}

// CopyFrom copies the file or folder src of the guest to the path dst of the host.
func (m *Machine) CopyFrom(src, dst string) {
	m.t.Helper()
	if err := m.VM.CopyFrom(m.ctx, src, dst); err != nil {
		m.fatal("CopyFrom "+src, err)
	}
}

// WriteFile writes a file in the guest with the permissions 0644.
func (m *Machine) WriteFile(name string, content []byte) {
	m.t.Helper()
	if err := m.VM.WriteFile(m.ctx, name, content, 0o644); err != nil {
		m.fatal("WriteFile "+name, err)
	}
}

// ReadFile returns the content of a file in the guest.
func (m *Machine) ReadFile(name string) []byte {
	m.t.Helper()
	content, err := m.VM.ReadFile(m.ctx, name)
	if err != nil {
		m.fatal("ReadFile "+name, err)
	}
	return content
}

// Dial connects to a TCP port of the guest, without a network. The connection
// ends with the test.
func (m *Machine) Dial(network string, port int) net.Conn {
	m.t.Helper()
	conn, err := m.VM.Dial(m.ctx, network, net.JoinHostPort("127.0.0.1", fmt.Sprint(port)))
	if err != nil {
		m.fatal(fmt.Sprintf("Dial %s %d", network, port), err)
	}
	m.t.Cleanup(func() { conn.Close() })
	return conn
}

// Forward returns an address of the host, as in "127.0.0.1:34567", that leads to a TCP
// port of the guest's 127.0.0.1, without a network. It ends with the machine.
func (m *Machine) Forward(port int) string {
	m.t.Helper()
	address, err := m.VM.Forward(m.ctx, port)
	if err != nil {
		m.fatal(fmt.Sprintf("Forward %d", port), err)
	}
	return address
}

// Screenshot writes the display to a PNG file in the test's undeclared outputs,
// or in a temporary folder outside Bazel, and returns its path.
func (m *Machine) Screenshot() string {
	m.t.Helper()
	dir := os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR")
	if dir == "" {
		dir = m.t.TempDir()
	}
	f, err := os.CreateTemp(dir, m.VM.Name()+"_*.png")
	if err != nil {
		m.fatal("Screenshot", err)
	}
	f.Close()
	if err := m.VM.Screenshot(m.ctx, f.Name()); err != nil {
		m.fatal("Screenshot", err)
	}
	return f.Name()
}

// PowerOff makes the guest power off, and waits until it has.
func (m *Machine) PowerOff() {
	m.t.Helper()
	if err := m.VM.PowerOff(m.ctx); err != nil {
		m.fatal("PowerOff", err)
	}
}

// PowerOn starts the machine again, once it has ended, by PowerOff or by itself: it boots
// from its disks with the guest's writes. m.VM is another [vm.Machine] then. Calls that need
// the guest's agent wait for it. See [vm.Machine.PowerOn].
func (m *Machine) PowerOn() {
	m.t.Helper()
	running, err := m.VM.PowerOn(m.ctx)
	if err != nil {
		m.fail(err)
	}
	m.VM = running
}

// Reboot makes the guest reboot, and waits until its agent answers again. The disks keep
// what the guest has written.
func (m *Machine) Reboot() {
	m.t.Helper()
	if err := m.VM.Reboot(m.ctx); err != nil {
		m.fail(err)
	}
}

// Reset resets the machine without asking the guest, as if its power had failed for a
// moment, and waits until its agent answers again.
func (m *Machine) Reset() {
	m.t.Helper()
	if err := m.VM.Reset(m.ctx); err != nil {
		m.fail(err)
	}
}

// Wait waits until the machine ends, and returns how it ended.
func (m *Machine) Wait() vm.End {
	m.t.Helper()
	end, err := m.VM.Wait(m.ctx)
	if err != nil {
		m.fatal("Wait", err)
	}
	return end
}
