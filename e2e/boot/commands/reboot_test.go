package commands_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

// withDisk adds an empty disk.
func withDisk(t *testing.T) vmtest.Option {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "data.img")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	return vmtest.WithDisk(machine.Disk{Path: disk, Format: "raw"})
}

// bootID is another one in each boot.
const bootID = "/proc/sys/kernel/random/boot_id"

// A guest reboots, by its own doing and by a reset. Its disk stays, its memory does not.
func TestReboot(t *testing.T) {
	m := start(t, withDisk(t))
	seen := map[string]bool{string(m.ReadFile(bootID)): true}
	for name, reboot := range map[string]func(){"Reboot": m.Reboot, "Reset": m.Reset} {
		m.WriteFile("/dev/vda", bytes.Repeat([]byte(name), 1000))
		m.WriteFile("/memory", []byte("lost"))
		if name == "Reset" {
			m.Output("/program", "sync") // as if the power failed after it
		}
		reboot()
		program(t, m) // it was in memory
		if id := string(m.ReadFile(bootID)); seen[id] {
			t.Errorf("%s: the guest is in the boot %s again", name, id)
		} else {
			seen[id] = true
		}
		if got := m.ReadFile("/dev/vda"); !bytes.HasPrefix(got, []byte(name+name)) {
			t.Errorf("%s: the disk begins with %q", name, got[:20])
		}
		if exists, err := agentExists(t, m, "/memory"); err != nil || exists {
			t.Errorf("%s: whether a file in memory is still there: %v, %v", name, exists, err)
		}
	}
}

// A machine starts again after a power-off, with its disk, its name on a network and its
// forwarded port, and without its memory. It can be frozen, and can start a third time.
func TestPowerOn(t *testing.T) {
	net := vmtest.Network(t)
	forward := func(c *machine.Config, _ *vm.Options) {
		c.Network, c.ForwardPorts = "user", []string{"tcp:80"}
		c.KernelArgs = append(slices.Clone(c.KernelArgs), "ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:off")
	}
	server := start(t, withDisk(t), forward, vmtest.WithNetwork(net), vmtest.WithStaticAddresses(), vmtest.WithName("server"))
	client := start(t, vmtest.WithNetwork(net), vmtest.WithStaticAddresses(), vmtest.WithName("client"))
	boot, port, mac, first := string(server.ReadFile(bootID)), server.VM.Ports()["tcp:80"], server.VM.Links()[0].MAC().String(), server.VM
	if _, err := first.PowerOn(t.Context()); err == nil || !strings.Contains(err.Error(), "the machine still runs; power it off first") {
		t.Errorf("PowerOn of a machine that runs: got error %v", err)
	}
	for _, powerOff := range []func(){server.PowerOff, func() { server.Output("/program", "sync"); server.VM.Close() }} {
		server.WriteFile("/dev/vda", []byte(boot))
		server.WriteFile("/memory", []byte("lost"))
		powerOff()
		server.PowerOn()
		program(t, server) // it was in memory
		next := string(server.ReadFile(bootID))
		if next == boot {
			t.Errorf("the guest is in the boot %s again", boot)
		}
		if got := server.ReadFile("/dev/vda"); !bytes.HasPrefix(got, []byte(boot)) {
			t.Errorf("the disk begins with %q, want %q", got[:len(boot)], boot)
		}
		boot = next
		if exists, err := agentExists(t, server, "/memory"); err != nil || exists {
			t.Errorf("whether a file in memory is still there: %v, %v", exists, err)
		}
		if got := server.VM.Links()[0].MAC().String(); got != mac {
			t.Errorf("the MAC address is %s, want %s", got, mac)
		}
		server.Output("/program", "background", "serve", ":80")
		if got := client.Output("/program", "get", "http://server/page"); got != "hello from /page" {
			t.Errorf("got %q from the network", got)
		}
		response, err := http.Get("http://" + port + "/page")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	if _, err := first.PowerOn(t.Context()); err == nil || !strings.Contains(err.Error(), "use the machine that PowerOn returned") {
		t.Errorf("the second PowerOn of one machine: got error %v", err)
	}
	log, err := os.ReadFile(server.VM.ConsoleLog())
	if boots := bytes.Count(log, []byte("VMX not supported")); err != nil || boots < 3 {
		t.Errorf("console.log has %d boots, want 3: %v\n%s", boots, err, log)
	}
	fork := server.Fork(t)
	if got := string(fork.ReadFile(bootID)); got != boot {
		t.Errorf("the fork is in the boot %q, want %q", got, boot)
	}
}

func agentExists(t *testing.T, m *vmtest.Machine, name string) (bool, error) {
	client, err := m.VM.Agent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return client.Exists(t.Context(), name)
}

// A command ends with the boot that it runs in, and static addresses are set again.
func TestRebootEndsCommands(t *testing.T) {
	net := vmtest.Network(t)
	server := start(t, vmtest.WithNetwork(net), vmtest.WithStaticAddresses(), vmtest.WithName("server"))
	client := start(t, vmtest.WithNetwork(net), vmtest.WithStaticAddresses(), vmtest.WithName("client"))
	served := make(chan error, 1)
	go func() {
		result, err := server.VM.Exec(t.Context(), vm.Command{Args: []string{"/program", "serve", ":80"}})
		if err == nil && !result.Success() {
			err = errors.New(result.String())
		}
		served <- err
	}()
	server.WaitForPort(80)
	server.Reboot()
	select {
	case err := <-served:
		if err == nil {
			t.Error("a command that the reboot ended has succeeded")
		}
	default:
		t.Error("a command goes on in the next boot")
	}
	program(t, server)
	go server.VM.Exec(t.Context(), vm.Command{Args: []string{"/program", "serve", ":80"}})
	server.WaitForPort(80)
	if got := client.Output("/program", "get", "http://server/again"); got != "hello from /again" {
		t.Errorf("got %q", got)
	}
}

// A reset that nobody asked for is a failure, also after a reboot.
func TestUnexpectedReset(t *testing.T) {
	m := start(t)
	m.Reboot()
	err := m.VM.WriteFile(t.Context(), "/proc/sysrq-trigger", []byte("b"), 0)
	if want := "the guest reset the machine"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want %q", err, want)
	}
}

func TestWaitForFileAndPort(t *testing.T) {
	m := start(t)
	m.WaitForFile("/proc/1/exe")
	wait := func(f func(ctx context.Context) error, want string) {
		t.Helper()
		if err := f(t.Context()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
	wait(func(ctx context.Context) error { return m.VM.WaitForFile(ctx, "/later", time.Second) }, "/later does not exist in the guest: waited 1s")
	wait(func(ctx context.Context) error { return m.VM.WaitForPort(ctx, 80, time.Second) }, "nothing accepts connections at port 80 of the guest: waited 1s; last: ")
	go m.VM.Exec(t.Context(), vm.Command{Args: []string{"/program", "serve", "127.0.0.1:80"}})
	m.WaitForPort(80)
	go m.VM.WriteFile(t.Context(), "/later", nil, 0o600)
	m.WaitForFile("/later")
	if err := m.VM.WaitForFile(t.Context(), "relative", 0); err == nil || !strings.Contains(err.Error(), `path "relative" must be absolute`) {
		t.Errorf("got error %v", err)
	}
}
