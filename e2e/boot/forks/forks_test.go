// Package forks_test boots a machine once and runs each test in a fork of it.
package forks_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

func boot(t *testing.T, opts ...vmtest.Option) *vmtest.Machine {
	t.Helper()
	m := vmtest.Start(t, os.Getenv("VM"), opts...)
	copyProgram(t, m)
	return m
}

func copyProgram(t *testing.T, m *vmtest.Machine) {
	t.Helper()
	program, err := runfiles.Rlocation(os.Getenv("PROGRAM"))
	if err != nil {
		t.Fatal(err)
	}
	m.CopyTo(program, "/program")
}

// Eight forks at the same time, each with its own disks, random numbers and clock.
func TestFork(t *testing.T) {
	m := boot(t)
	m.WriteFile("/dev/vda", bytes.Repeat([]byte("m"), 4096))
	m.WriteFile("/state", []byte("saved"))
	m.Freeze()

	random := make(chan string, 8)
	t.Run("forks", func(t *testing.T) {
		for i := range cap(random) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				f := m.Fork(t)
				if got := f.ReadFile("/state"); string(got) != "saved" {
					t.Errorf("/state has %q", got)
				}
				disk := f.ReadFile("/dev/vda")
				if !bytes.HasPrefix(disk, []byte("mmmm")) {
					t.Errorf("the disk begins with %q, want the text from before the fork", disk[:4])
				}
				mine := fmt.Sprintf("fork %d", i)
				f.WriteFile("/state", []byte(mine))
				f.WriteFile("/dev/vda", []byte(mine))
				random <- f.Output("/program", "random")
				checkClock(t, f)
				if got := f.ReadFile("/state"); string(got) != mine {
					t.Errorf("/state has %q, want %q", got, mine)
				}
				if got := f.ReadFile("/dev/vda"); !bytes.HasPrefix(got, []byte(mine)) {
					t.Errorf("the disk begins with %q, want %q", got[:8], mine)
				}
			})
		}
	})
	close(random)
	seen := map[string]bool{}
	for r := range random {
		if seen[r] {
			t.Errorf("two forks drew the random number %s", r)
		}
		seen[r] = true
	}
	if len(seen) != cap(random) {
		t.Errorf("%d forks drew a random number, want %d", len(seen), cap(random))
	}

	if _, err := m.VM.Exec(t.Context(), vm.Command{Args: []string{"/program", "now"}}); err == nil || !strings.Contains(err.Error(), "frozen") {
		t.Errorf("a command in a frozen machine: got error %v", err)
	}
}

// checkClock checks that the guest's clock is the host's, to a tenth of a second.
func checkClock(t *testing.T, m *vmtest.Machine) {
	t.Helper()
	client, err := m.VM.Agent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	now, err := client.Clock(t.Context())
	after := time.Now()
	const tolerance = 100 * time.Millisecond
	if err != nil || now.Before(before.Add(-tolerance)) || now.After(after.Add(tolerance)) {
		t.Errorf("the guest's clock shows %v, the host's %v to %v (%v)", now, before, after, err)
	}
}

// A server and a client are saved together. Each set of forks has its own network.
func TestForkAll(t *testing.T) {
	net := vmtest.Network(t)
	server := boot(t, vmtest.WithNetwork(net), vmtest.WithStaticAddresses(), vmtest.WithName("server"))
	client := boot(t, vmtest.WithNetwork(net), vmtest.WithStaticAddresses(), vmtest.WithName("client"))
	server.Output("/program", "background", "serve", ":80")
	cmd := vm.Command{Args: []string{"/program", "get", "http://server/"}}
	if err := client.VM.WaitFor(t.Context(), cmd, 0); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		t.Run(fmt.Sprint("set ", i), func(t *testing.T) {
			t.Parallel()
			forks := vmtest.ForkAll(t, server, client)
			if got := forks[1].Output("/program", "get", "http://server/page"); got != "hello from /page" {
				t.Errorf("got %q", got)
			}
			if forks[0].VM.Links()[0].Stats().FromGuest == 0 {
				t.Error("the fork of the server did not send a frame to its own network")
			}
		})
	}
	t.Run("cut off", func(t *testing.T) {
		t.Parallel()
		f := client.Fork(t)
		if err := f.VM.WaitFor(t.Context(), cmd, 5*time.Second); err == nil {
			t.Error("a fork without a network reached a server")
		}
	})
	// Two forks of one machine on one network: each has its own name
	// and address.
	t.Run("twins", func(t *testing.T) {
		t.Parallel()
		net := vmtest.Network(t)
		one, two := server.Fork(t, vmtest.WithNetwork(net), vmtest.WithName("one")), server.Fork(t, vmtest.WithNetwork(net), vmtest.WithName("two"))
		const address = "/sys/class/net/eth0/address"
		if a, b := one.ReadFile(address), two.ReadFile(address); bytes.Equal(a, b) {
			t.Errorf("both have the MAC address %s", a)
		}
		const ipv6 = "/proc/net/if_inet6"
		if a, b := one.ReadFile(ipv6), two.ReadFile(ipv6); bytes.Equal(a, b) || bytes.Count(a, []byte("eth0")) != 1 {
			t.Errorf("they have the IPv6 addresses\n%sand\n%s", a, b)
		}
		if got := two.Output("/program", "get", "http://one/1"); got != "hello from /1" {
			t.Errorf("got %q", got)
		}
	})
}

// Forks boot again, from their own disks. Those of ForkAll have the addresses of the
// machines that they were made from, others their own. A fork that has booted again can be
// forked.
func TestReboot(t *testing.T) {
	net := vmtest.Network(t)
	static := vmtest.WithStaticAddresses()
	server := boot(t, vmtest.WithNetwork(net), static, vmtest.WithName("server"))
	client := boot(t, vmtest.WithNetwork(net), static, vmtest.WithName("client"))
	const bootID = "/proc/sys/kernel/random/boot_id"
	reboot := func(t *testing.T, m *vmtest.Machine) {
		t.Helper()
		before := m.ReadFile(bootID)
		m.WriteFile("/dev/vda", []byte(m.VM.Name()))
		m.Reboot()
		if after := m.ReadFile(bootID); bytes.Equal(before, after) {
			t.Errorf("%s: the guest is in the boot %s again", m.VM.Name(), after)
		}
		if got := m.ReadFile("/dev/vda"); !bytes.HasPrefix(got, []byte(m.VM.Name())) {
			t.Errorf("%s: the disk begins with %q", m.VM.Name(), got[:8])
		}
		copyProgram(t, m) // it was in memory
	}
	connect := func(t *testing.T, server, client *vmtest.Machine) {
		t.Helper()
		server.Output("/program", "background", "serve", ":80")
		if got := client.Output("/program", "get", "http://"+server.VM.Name()+"/page"); got != "hello from /page" {
			t.Errorf("got %q", got)
		}
	}
	vmtest.ForkAll(t, server, client)
	t.Run("ForkAll", func(t *testing.T) {
		t.Parallel()
		forks := vmtest.ForkAll(t, server, client)
		reboot(t, forks[0])
		connect(t, forks[0], forks[1])
	})
	t.Run("twins", func(t *testing.T) {
		t.Parallel()
		net := vmtest.Network(t)
		one := server.Fork(t, vmtest.WithNetwork(net), vmtest.WithName("one"), vmtest.WithSaveable())
		two := server.Fork(t, vmtest.WithNetwork(net), vmtest.WithName("two"))
		reboot(t, one)
		reboot(t, two)
		connect(t, two, one)
		again := vmtest.Network(t)
		three := one.Fork(t, vmtest.WithNetwork(again), vmtest.WithName("three"))
		connect(t, server.Fork(t, vmtest.WithNetwork(again), vmtest.WithName("four")), three)
	})
}

// A fork that is saveable can be forked again.
func TestForkOfFork(t *testing.T) {
	m := boot(t)
	m.WriteFile("/state", []byte("1"))
	first := m.Fork(t, vmtest.WithSaveable())
	first.WriteFile("/state", []byte("2"))
	second := first.Fork(t)
	if got := second.ReadFile("/state"); string(got) != "2" {
		t.Errorf("the fork of a fork has %q, want %q", got, "2")
	}
	if got := m.Fork(t).ReadFile("/state"); string(got) != "1" {
		t.Errorf("a fork has %q, want %q", got, "1")
	}
}

// A machine is saved when the guest has finished what it was doing.
func TestSavedAtRest(t *testing.T) {
	m := boot(t)
	m.Output("/program", "background", "burn", "2s", "/done")
	f := m.Fork(t)
	if _, err := f.VM.ReadFile(t.Context(), "/done"); err != nil {
		t.Errorf("the guest was saved while a program ran: %v", err)
	}
}

// A guest that never rests is saved nevertheless.
func TestNeverAtRest(t *testing.T) {
	m := boot(t, vmtest.WithSaveable())
	m.Output("/program", "background", "burn", "1h", "/done")
	snapshot, err := m.VM.Freeze(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	if got, want := snapshot.Busy(), `the guest was not at rest within 10s, and is saved as it is; its programs took "exe `; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	f, err := snapshot.Start(t.Context(), vm.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	result, err := f.Exec(t.Context(), vm.Command{Args: []string{"/program", "now"}})
	if err != nil || !result.Success() {
		t.Errorf("got %v, %v", result, err)
	}
}

// Programs in a guest do not run with the time and the random numbers of the save.
func TestProgramsSeeTheirOwnTime(t *testing.T) {
	m := boot(t)
	m.Output("/program", "background", "record", "/record")
	m.Freeze()
	time.Sleep(time.Second)
	var records [2][]string
	var starts [2]time.Time
	for i := range records {
		starts[i] = time.Now()
		f := m.Fork(t)
		enough := func() bool {
			records[i] = strings.Split(strings.TrimSpace(string(f.ReadFile("/record"))), "\n")
			last := stamp(t, records[i][len(records[i])-1])
			return last.After(starts[i].Add(time.Second))
		}
		for !enough() {
			time.Sleep(50 * time.Millisecond)
		}
	}
	// What both have is from before the save.
	saved := 0
	for saved < min(len(records[0]), len(records[1])) && records[0][saved] == records[1][saved] {
		saved++
	}
	if saved == 0 {
		t.Fatal("the program did not run before the save")
	}
	const tolerance = 100 * time.Millisecond
	random := map[string]bool{}
	for i, lines := range records {
		for _, line := range lines[saved:] {
			if at := stamp(t, line); at.Before(starts[i].Add(-tolerance)) {
				t.Errorf("a program saw the time %v in a fork that started at %v", at, starts[i])
			}
			number := strings.Fields(line)[1]
			if random[number] {
				t.Errorf("programs in two forks drew the random number %s", number)
			}
			random[number] = true
		}
	}
}

// stamp returns the time in a line of the program's record.
func stamp(t *testing.T, line string) time.Time {
	t.Helper()
	var at int64
	if _, err := fmt.Sscan(line, &at); err != nil {
		t.Fatalf("the line %q: %v", line, err)
	}
	return time.Unix(0, at)
}

// A machine whose agent does not answer after the save does not start.
func TestAgentStops(t *testing.T) {
	m := boot(t, vmtest.WithSaveable())
	m.Output("/program", "background", "stop-agent")
	snapshot, err := m.VM.Freeze(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	f, err := snapshot.Start(ctx, vm.Options{Dir: t.TempDir()})
	if err == nil {
		f.Close()
	}
	if want := "the machine did not resume: the agent did not answer"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want %q", err, want)
	}
}
