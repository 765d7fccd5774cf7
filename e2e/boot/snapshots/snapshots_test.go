// Package snapshots_test starts machines from a snapshot that the build made.
package snapshots_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

func resume(t *testing.T, opts ...vmtest.Option) *vmtest.Machine {
	t.Helper()
	return resumeMachine(t, "BOOTED", opts...)
}

func resumeMachine(t *testing.T, variable string, opts ...vmtest.Option) *vmtest.Machine {
	t.Helper()
	m := vmtest.Start(t, os.Getenv(variable), opts...)
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

func TestRandomNumbers(t *testing.T) {
	first, second := resume(t), resume(t)
	if a, b := first.Output("/program", "random"), second.Output("/program", "random"); a == b {
		t.Errorf("two machines drew the same random number %s", a)
	}
	const uuid = "/proc/sys/kernel/random/uuid"
	if a, b := first.ReadFile(uuid), second.ReadFile(uuid); bytes.Equal(a, b) {
		t.Errorf("two machines made the same UUID %s", a)
	}
}

// The guest's clock is the host's, to a tenth of a second.
func TestClock(t *testing.T) {
	checkClock(t, resume(t), 100*time.Millisecond)
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

// The clock of a guest that was saved years ago is the host's, so that it accepts a
// certificate of this hour.
func TestOld(t *testing.T) {
	m := resumeMachine(t, "LARGER")
	checkClock(t, m, 100*time.Millisecond)
	writeCertificate(t, m)
	m.Output("/program", "tls", "/certificate", "/key")
}

// Forks of a server share the key of its TLS tickets: a session with one of them goes on with
// the other.
func TestTickets(t *testing.T) {
	m := resumeMachine(t, "LARGER", vmtest.WithSaveable())
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(writeCertificate(t, m))
	m.Output("/program", "background", "serve-tls", ":80", "/certificate", "/key")
	resumes := func(m *vmtest.Machine, sessions tls.ClientSessionCache) bool {
		t.Helper()
		client := http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: "guest.test", ClientSessionCache: sessions},
		}}
		response, err := client.Get("https://" + m.VM.Ports()["tcp:80"] + "/page")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if body, err := io.ReadAll(response.Body); err != nil || string(body) != "hello from /page" {
			t.Errorf("got %q, %v", body, err)
		}
		return response.TLS.DidResume
	}
	// The server makes its key for the first client.
	resumes(m, nil)
	m.Freeze()
	sessions := tls.NewLRUClientSessionCache(1)
	if resumes(m.Fork(t), sessions) {
		t.Error("the first session goes on")
	}
	if !resumes(m.Fork(t), sessions) {
		t.Error("the session with a fork does not go on with another one")
	}
}

// writeCertificate writes a certificate that is valid in this hour, and its key, to files in
// a guest, and returns the certificate in PEM.
func writeCertificate(t *testing.T, m *vmtest.Machine) []byte {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"guest.test"},
		NotBefore: time.Now().Add(-time.Hour / 2), NotAfter: time.Now().Add(time.Hour / 2),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	m.WriteFile("/certificate", certificate)
	m.WriteFile("/key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	return certificate
}

// Four processors, two disks, and a forwarded port at another number than when the
// machine was saved.
func TestLarger(t *testing.T) {
	m := resumeMachine(t, "LARGER")
	if got := m.Output("/program", "cpus"); got != "4\n" {
		t.Errorf("%s processors work", got)
	}
	m.Output("/program", "monotonic")
	m.WriteFile("/dev/vdb", []byte("second"))
	if got := m.ReadFile("/dev/vda"); bytes.HasPrefix(got, []byte("second")) {
		t.Error("both disks are the same")
	}
	m.Output("/program", "background", "serve", ":80")
	response, err := http.Get("http://" + m.VM.Ports()["tcp:80"] + "/page")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "hello from /page" {
		t.Errorf("got %q, %v", body, err)
	}
}

// A connection to outside ends with the save. The guest does not know it before it sends.
func TestConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	m := resumeMachine(t, "LARGER", vmtest.WithSaveable())
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	m.Output("/program", "background", "talk", "10.0.2.2:"+port, "/talk")
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m.Freeze()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open after the save")
	}
	f := m.Fork(t)
	f.WriteFile("/talk", nil)
	var got []byte
	for len(got) == 0 {
		got = f.ReadFile("/talk")
	}
	if !bytes.HasSuffix(got, []byte("connection reset by peer")) {
		t.Errorf("the guest got %s", got)
	}
}

// Two hundred machines one after another leave nothing that stops the next one.
func TestManyResumes(t *testing.T) {
	for i := range 200 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			m := vmtest.Start(t, os.Getenv("BOOTED"))
			if got := m.ReadFile("/proc/uptime"); len(got) == 0 {
				t.Error("/proc/uptime is empty")
			}
		})
	}
}

// Eight machines at the same time do not see each other's writes.
func TestEightAtOnce(t *testing.T) {
	for i := range 8 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			m := vmtest.Start(t, os.Getenv("BOOTED"))
			mine := fmt.Sprintf("machine %d", i)
			for _, path := range []string{"/memory", "/dev/vda"} {
				m.WriteFile(path, []byte(mine))
			}
			for _, path := range []string{"/memory", "/dev/vda"} {
				if got := m.ReadFile(path); !bytes.HasPrefix(got, []byte(mine)) {
					t.Errorf("%s begins with %q, want %q", path, got[:len(mine)], mine)
				}
			}
		})
	}
}

// Machines change none of the snapshot's files, not even as root, whom the files'
// permissions do not stop.
func TestOutputsAreUnchanged(t *testing.T) {
	before := digests(t)
	m := resume(t)
	m.WriteFile("/memory", bytes.Repeat([]byte("m"), 16<<20))
	m.WriteFile("/dev/vda", []byte("disk"))
	m.VM.Close()
	for path, digest := range digests(t) {
		if digest != before[path] {
			t.Errorf("%s has changed", filepath.Base(path))
		}
	}
}

// digests returns the digests of the snapshot's files.
func digests(t *testing.T) map[string][sha256.Size]byte {
	t.Helper()
	program, err := runfiles.Rlocation(os.Getenv("BOOTED"))
	if err != nil {
		t.Fatal(err)
	}
	digests := map[string][sha256.Size]byte{}
	for _, suffix := range []string{".disk0.qcow2", ".fingerprint.json", ".ram", ".state"} {
		b, err := os.ReadFile(program + suffix)
		if err != nil {
			t.Fatal(err)
		}
		digests[program+suffix] = sha256.Sum256(b)
	}
	return digests
}

// A machine that cannot resume here boots, if the target asks for that. The test begins
// when it is ready.
func TestBootsInstead(t *testing.T) {
	program, err := runfiles.Rlocation(os.Getenv("BOOTED_OR_BOOTS"))
	if err != nil {
		t.Fatal(err)
	}
	fingerprint, err := os.ReadFile(program + ".fingerprint.json")
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	other := regexp.MustCompile(`"(qemu|qemu_build)": "`).ReplaceAll(fingerprint, []byte("${0}not "))
	if err := os.WriteFile(copied+".fingerprint.json", other, 0o666); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(program + ".vm.json")
	if err != nil {
		t.Fatal(err)
	}
	config = regexp.MustCompile(`"[^"]*\.fingerprint\.json"`).ReplaceAll(config, []byte(strconv.Quote(copied+".fingerprint.json")))
	if err := os.WriteFile(copied+".vm.json", config, 0o666); err != nil {
		t.Fatal(err)
	}
	m := vmtest.Start(t, copied)
	log, err := os.ReadFile(filepath.Join(filepath.Dir(m.VM.ConsoleLog()), "qemu.log"))
	if want := `the machine boots and does not resume: the snapshot was saved with another environment: QEMU was "not `; err != nil || !bytes.Contains(log, []byte(want)) {
		t.Errorf("qemu.log is %q (%v), want %q", log, err, want)
	}
	if got := m.ReadFile("/proc/uptime"); len(got) == 0 {
		t.Error("/proc/uptime is empty")
	}
}

func TestWritesArePrivate(t *testing.T) {
	first, second := resume(t), resume(t)
	first.WriteFile("/dev/vda", []byte("first"))
	if got := second.ReadFile("/dev/vda"); !bytes.HasPrefix(got, make([]byte, 5)) {
		t.Errorf("the other machine's disk begins with %q", got[:5])
	}
	if got := first.ReadFile("/dev/vda"); !bytes.HasPrefix(got, []byte("first")) {
		t.Errorf("the disk begins with %q", got[:5])
	}
}

// The snapshot has a network card, which a test links to a network.
func TestNetwork(t *testing.T) {
	net := vmtest.Network(t)
	server := resume(t, vmtest.WithNetwork(net), vmtest.WithName("server"))
	client := resume(t, vmtest.WithNetwork(net), vmtest.WithName("client"))
	server.Output("/program", "background", "serve", ":80")
	if got := client.Output("/program", "get", "http://server/page"); got != "hello from /page" {
		t.Errorf("got %q", got)
	}
}

// A machine that resumed boots again, by its guest's doing and by a reset: from its own
// disk, with the clock and with the addresses of its network.
func TestReboot(t *testing.T) {
	net := vmtest.Network(t)
	server := resume(t, vmtest.WithNetwork(net), vmtest.WithName("server"))
	client := resume(t, vmtest.WithNetwork(net), vmtest.WithName("client"))
	serve := func(page string) {
		t.Helper()
		server.Output("/program", "background", "serve", ":80")
		if got := client.Output("/program", "get", "http://server/"+page); got != "hello from /"+page {
			t.Errorf("got %q", got)
		}
	}
	serve("resumed")
	const bootID = "/proc/sys/kernel/random/boot_id"
	seen := map[string]bool{string(server.ReadFile(bootID)): true}
	for name, reboot := range map[string]func(){"Reboot": server.Reboot, "Reset": server.Reset} {
		server.WriteFile("/memory", []byte("lost"))
		server.WriteFile("/dev/vda", []byte(name))
		server.Output("/program", "sync")
		reboot()
		// A guest that boots reads the hardware's clock, which shows whole seconds, and is
		// behind on a busy host.
		checkClock(t, server, 10*time.Second)
		if id := string(server.ReadFile(bootID)); seen[id] {
			t.Errorf("%s: the guest is in the boot %s again", name, id)
		} else {
			seen[id] = true
		}
		if got := server.ReadFile("/dev/vda"); !bytes.HasPrefix(got, []byte(name)) {
			t.Errorf("%s: the disk begins with %q", name, got[:20])
		}
		if got, want := string(server.ReadFile("/sys/class/net/eth0/address")), server.VM.Links()[0].MAC().String()+"\n"; got != want {
			t.Errorf("%s: the card has the address %q, want %q", name, got, want)
		}
		copyProgram(t, server) // it was in memory, as /memory
		if client, err := server.VM.Agent(t.Context()); err != nil {
			t.Error(err)
		} else if exists, err := client.Exists(t.Context(), "/memory"); err != nil || exists {
			t.Errorf("%s: whether a file in memory is still there: %v, %v", name, exists, err)
		}
		serve(name)
	}
}

// A machine that resumed boots after a power-off from its own disk, with the addresses of
// its network.
func TestPowerOn(t *testing.T) {
	net := vmtest.Network(t)
	server := resume(t, vmtest.WithNetwork(net), vmtest.WithName("server"))
	client := resume(t, vmtest.WithNetwork(net), vmtest.WithName("client"))
	server.WriteFile("/dev/vda", []byte("kept"))
	server.PowerOff()
	server.PowerOn()
	if got := server.ReadFile("/dev/vda"); !bytes.HasPrefix(got, []byte("kept")) {
		t.Errorf("the disk begins with %q", got[:4])
	}
	copyProgram(t, server) // it was in memory
	server.Output("/program", "background", "serve", ":80")
	if got := client.Output("/program", "get", "http://server/page"); got != "hello from /page" {
		t.Errorf("got %q", got)
	}
}

// A machine that resumed can be forked if it owns its RAM.
func TestFork(t *testing.T) {
	m := resume(t, vmtest.WithSaveable())
	m.WriteFile("/state", []byte("saved"))
	if got := m.Fork(t).ReadFile("/state"); string(got) != "saved" {
		t.Errorf("got %q", got)
	}
}
