// Package commands_test runs a program in guests from Go.
package commands_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

// start boots a machine and copies the program under test into it.
func start(t *testing.T, opts ...vmtest.Option) *vmtest.Machine {
	t.Helper()
	m := vmtest.Start(t, os.Getenv("VM"), opts...)
	program(t, m)
	return m
}

// program copies the program under test into a guest.
func program(t *testing.T, m *vmtest.Machine) {
	t.Helper()
	path, err := runfiles.Rlocation(os.Getenv("PROGRAM"))
	if err != nil {
		t.Fatal(err)
	}
	m.CopyTo(path, "/program")
}

func TestProgram(t *testing.T) {
	m := start(t)

	if got := m.Output("/program", "echo", "two words", "a\nb\xff"); got != "two words a\nb\xff\n" {
		t.Errorf("got %q", got)
	}

	var stdout, stderr bytes.Buffer
	result, err := m.VM.Exec(t.Context(), vm.Command{
		Args: []string{"/program", "upper"}, Stdin: strings.NewReader("text"), Stdout: &stdout,
	})
	if err != nil || !result.Success() || stdout.String() != "TEXT" {
		t.Errorf("got %q, %v, %v", &stdout, result, err)
	}
	result, err = m.VM.Exec(t.Context(), vm.Command{Args: []string{"/program", "exit", "3"}, Stderr: &stderr})
	if err != nil || result.ExitStatus != 3 || stderr.String() != "the status is 3\n" {
		t.Errorf("got %q, %v, %v", &stderr, result, err)
	}

	// Files and folders, both ways.
	m.WriteFile("/folder.txt", []byte("one"))
	if got := m.ReadFile("/folder.txt"); string(got) != "one" {
		t.Errorf("got %q", got)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a/b/file"), []byte("content"), 0o640); err != nil {
		t.Fatal(err)
	}
	m.CopyTo(dir, "/tree")
	back := filepath.Join(t.TempDir(), "back")
	m.CopyFrom("/tree", back)
	if got, err := os.ReadFile(filepath.Join(back, "a/b/file")); err != nil || string(got) != "content" {
		t.Errorf("got %q, %v", got, err)
	}

	if path := m.Screenshot(); !strings.HasSuffix(path, ".png") {
		t.Errorf("got screenshot %s, want a .png file", path)
	}
	m.PowerOff()
}

// A server in the guest is reachable without a network: the agent connects to it.
func TestServer(t *testing.T) {
	m := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		_, err := m.VM.Exec(ctx, vm.Command{Args: []string{"/program", "serve", "127.0.0.1:80"}})
		served <- err
	}()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			// The guest has no resolver.
			return m.VM.Dial(ctx, network, "localhost:80")
		},
	}}
	m.WaitForPort(80)
	get := func(client *http.Client, url string) {
		t.Helper()
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if b, err := io.ReadAll(response.Body); err != nil || string(b) != "hello from /page" {
			t.Errorf("got %q, %v", b, err)
		}
	}
	get(client, "http://guest/page")
	address := m.Forward(80)
	get(http.DefaultClient, "http://"+address+"/page")
	// A port that the guest refuses: the connection ends.
	if _, err := http.Get("http://" + m.Forward(81) + "/page"); err == nil {
		t.Error("a port without a server answers")
	}
	cancel()
	if err := <-served; err == nil {
		t.Error("the server ended without an error, want the end of its context")
	}
}

// Options change the machine of the target, and not that of other tests.
func TestOptions(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "data.img")
	if err := os.WriteFile(disk, make([]byte, 3<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	changed := start(t, vmtest.WithMemory("300M"), vmtest.WithCPUs(2), vmtest.WithDisk(machine.Disk{Path: disk, Format: "raw", Serial: "data"}))
	plain := start(t)
	for file, want := range map[string]string{
		"/sys/devices/system/cpu/online": "0-1\n",
		"/sys/block/vda/size":            "6144\n",
		"/sys/block/vda/serial":          "data",
	} {
		if got := string(changed.ReadFile(file)); got != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
	// A part of the memory is the kernel's.
	if with, without := memory(changed), memory(plain); with < 200<<10 || with > 300<<10 || without == with {
		t.Errorf("the memory is %d KiB with 300M, and %d KiB without", with, without)
	}
	if got := string(plain.ReadFile("/sys/devices/system/cpu/online")); got != "0\n" {
		t.Errorf("the processors of another machine are %q", got)
	}
	content, err := os.ReadFile(disk)
	if err != nil || !bytes.Equal(content, make([]byte, 3<<20)) {
		t.Errorf("the disk has changed: %v", err)
	}
}

// memory returns the guest's memory in KiB.
func memory(m *vmtest.Machine) (size int) {
	fmt.Sscanf(string(m.ReadFile("/proc/meminfo")), "MemTotal: %d kB", &size)
	return size
}

// Two machines on a network: one serves, the other fetches by name.
func TestTwoMachines(t *testing.T) {
	net := vmtest.Network(t)
	// The guests have no DHCP client.
	server := start(t, vmtest.WithNetwork(net), vmtest.WithStaticAddresses(), vmtest.WithName("server"))
	client := start(t, vmtest.WithNetwork(net), vmtest.WithStaticAddresses(), vmtest.WithName("client"))
	go server.VM.Exec(t.Context(), vm.Command{Args: []string{"/program", "serve", ":80"}})
	get := vm.Command{Args: []string{"/program", "get", "http://server/"}}
	if err := client.VM.WaitFor(t.Context(), get, time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := client.Output("/program", "get", "http://server/index"); got != "hello from /index" {
		t.Errorf("got %q", got)
	}
	// A machine without an address cannot look up the name.
	other := start(t, vmtest.WithNetwork(net), vmtest.WithName("other"))
	_, err := other.VM.Exec(t.Context(), get)
	for m, want := range map[*vmtest.Machine]bool{client: false, other: true} {
		hint := "the guest has neither asked for its address " + m.VM.Links()[0].Addr().String() + " on the network nor used it"
		if report := m.VM.Report(errors.Join(err, errors.New("a failure"))).Error(); strings.Contains(report, hint) != want {
			t.Errorf("%s: whether the report has %q is %v:\n%s", m.VM.Name(), hint, !want, report)
		}
	}
}
