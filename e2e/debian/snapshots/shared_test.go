package snapshots_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

// Machines that were one before the save have the same identity, and a program that had
// seeded its random numbers draws the same ones in each.
func TestShared(t *testing.T) {
	m := vmtest.Start(t, os.Getenv("BOOTED"), vmtest.WithSaveable())
	m.Run("mkfifo /run/draw")
	m.Run("systemd-run --quiet bash -c 'echo $RANDOM >/run/seeded; read </run/draw; echo $RANDOM $RANDOM $RANDOM >/run/drawn'")
	m.WaitFor("test -s /run/seeded")
	m.Freeze()
	var seen [2]string
	for i := range seen {
		f := m.Fork(t)
		f.Run("echo >/run/draw")
		f.WaitFor("test -s /run/drawn")
		seen[i] = f.Run("cat /etc/machine-id /proc/sys/kernel/random/boot_id /etc/hostname /run/drawn")
	}
	if seen[0] != seen[1] || strings.Count(seen[0], "\n") != 4 {
		t.Errorf("the forks have\n%sand\n%s", seen[0], seen[1])
	}
}

// A timer by date that fell between the save and the resume is due at once. The uptime does
// not have the time between them.
func TestTimers(t *testing.T) {
	m := vmtest.Start(t, os.Getenv("BOOTED"), vmtest.WithSaveable())
	// The guest is frozen a day ago.
	m.Run("date --set='1 day ago'")
	m.Run("systemd-run --quiet --on-calendar=\"$(date --date='12 hours' '+%F %T')\" touch /run/due")
	m.Freeze()
	f := m.Fork(t)
	start := time.Now()
	f.WaitFor("test -e /run/due")
	text := f.Run("stat --format=%Y /run/due; cut -d. -f1 /proc/uptime")
	var due, uptime int64
	if _, err := fmt.Sscan(text, &due, &uptime); err != nil || time.Unix(due, 0).Before(start.Add(-time.Minute)) || uptime > 12*3600 {
		t.Errorf("the timer was due and the uptime is %q (%v)", text, err)
	}
}

// systemd-networkd asks for another lease because the agent has changed the MAC address.
func TestLease(t *testing.T) {
	m := vmtest.Start(t, os.Getenv("BOOTED"), vmtest.WithNetwork(vmtest.Network(t)), vmtest.WithName("saved"), vmtest.WithSaveable())
	m.WriteFile("/etc/systemd/network/all.network", []byte("[Match]\nType=ether\n[Network]\nDHCP=ipv4\n"))
	m.Run("systemctl start systemd-networkd")
	const lease = "grep -l ^HOSTNAME=%s$ /run/systemd/netif/leases/*"
	m.WaitFor(fmt.Sprintf(lease, "saved"))
	m.Freeze()
	net := vmtest.Network(t)
	for _, name := range []string{"one", "two"} {
		f := m.Fork(t, vmtest.WithNetwork(net), vmtest.WithName(name))
		f.WaitFor(fmt.Sprintf(lease, name))
		address := f.VM.Links()[0].Addr().String()
		f.Run("grep ^ADDRESS=" + address + "$ /run/systemd/netif/leases/* && ip -4 -oneline address | grep ' " + address + "/24 .* dynamic '")
	}
}
