// Package layers_test looks at layers that guests wrote, with the tools that made their
// file system, and from machines that boot or resume from them.
package layers_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

// A second machine fetches a page from nginx, which a lower layer installed and an upper
// one gave its files. Both resume from a snapshot on top of the layers.
func TestPage(t *testing.T) {
	n := vmtest.Network(t)
	vmtest.Start(t, os.Getenv("APP_UP"), vmtest.WithNetwork(n), vmtest.WithName("server"))
	client := vmtest.Start(t, os.Getenv("APP_UP"), vmtest.WithNetwork(n), vmtest.WithName("client"))
	page := client.Run(`bash -c "exec 3<>/dev/tcp/server/8080; printf 'GET /sub/page.html HTTP/1.0\r\n\r\n' >&3; cat <&3"`)
	if !strings.Contains(page, "200 OK") || !strings.HasSuffix(page, "hello\n") {
		t.Errorf("the server answered %q", page)
	}
}

// Files have the owners and modes that the build says, in a machine that boots.
func TestFiles(t *testing.T) {
	m := vmtest.Start(t, os.Getenv("APP_UP"))
	for path, want := range map[string]string{
		"/etc/app/password":               "640 root www-data regular file",
		"/etc/app":                        "755 root root directory",
		"/etc/nginx/conf.d/site.conf":     "644 root root regular file",
		"/etc/systemd/system/app.service": "644 root root regular file",
		"/srv/site/sub":                   "750 www-data www-data directory",
		"/usr/local/bin/app":              "755 root root regular file",
		"/etc/systemd/system/multi-user.target.wants/app.service": "777 root root symbolic link",
	} {
		if got := strings.TrimSpace(m.Run("stat --format='%a %U %G %F' " + path)); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	m.Run("grep ^app: /etc/passwd")
	if got := m.Run("cat /srv/tree/sub/file /srv/tree/link"); got != "text\ntext\n" {
		t.Errorf("the folder has %q", got)
	}
	if got := m.Run("ls -A /tmp/debs /dev/shm/rules_qcow2 2>/dev/null || true"); got != "" {
		t.Errorf("left: %q", got)
	}
}

// The guest has unmounted its file system, and what is sealed is not in it.
func TestDisks(t *testing.T) {
	for _, name := range []string{"WITH_NGINX", "WITH_APP", "DELETED"} {
		t.Run(name, func(t *testing.T) {
			device := filepath.Join(t.TempDir(), "root")
			run(t, qemuImg(t), "convert", "-f", "qcow2", "-O", "raw", image(t, name), device)
			if got := run(t, program("dumpe2fs"), "-h", device); strings.Contains(got, "needs_recovery") || !strings.Contains(got, "clean\n") {
				t.Errorf("the file system was not unmounted:\n%s", got)
			}
			run(t, program("e2fsck"), "-f", "-n", device)
			for command, want := range map[string]string{
				"stat /etc/machine-id":                   "Size: 0",
				"stat /var/lib/systemd/random-seed":      "File not found",
				"ls /var/log/journal":                    "",
				"stat /tmp/debs":                         "File not found",
				"stat /root/1g":                          "File not found",
				"stat /var/cache/apt/archives/nginx.deb": "File not found",
			} {
				if got := run(t, program("debugfs"), "-R", command, device); !strings.Contains(got, want) {
					t.Errorf("%s: %q, want %q", command, got, want)
				}
			}
		})
	}
}

// Bazel's sandbox gave QEMU no network but that of the action.
func TestNoNetwork(t *testing.T) {
	device := filepath.Join(t.TempDir(), "root")
	run(t, qemuImg(t), "convert", "-f", "qcow2", "-O", "raw", image(t, "DELETED"), device)
	var interfaces []string
	for line := range strings.Lines(run(t, program("debugfs"), "-R", "cat /root/interfaces", device)) {
		if name, _, found := strings.Cut(line, ":"); found {
			interfaces = append(interfaces, strings.TrimSpace(name))
		}
	}
	if len(interfaces) != 1 || interfaces[0] != "lo" {
		t.Errorf("QEMU had the interfaces %q, want lo", interfaces)
	}
}

// The clock that the build sets is the guest's.
func TestClock(t *testing.T) {
	device := filepath.Join(t.TempDir(), "root")
	run(t, qemuImg(t), "convert", "-f", "qcow2", "-O", "raw", image(t, "WITH_APP"), device)
	if got := run(t, program("debugfs"), "-R", "stat /etc/passwd", device); !strings.Contains(got, "Jan  1 00:0") || !strings.Contains(got, "2030") {
		t.Errorf("the guest changed the file at another time:\n%s", got)
	}
}

// QEMU opens all layers of the chain, and each layer has only what its guest wrote.
func TestChain(t *testing.T) {
	var chain []struct {
		VirtualSize int64  `json:"virtual-size"`
		Format      string `json:"format"`
		Backing     string `json:"backing-filename"`
	}
	output := run(t, qemuImg(t), "info", "--backing-chain", "--output=json", image(t, "WITH_APP"))
	if err := json.Unmarshal([]byte(output), &chain); err != nil {
		t.Fatal(err)
	}
	if len(chain) != 3 {
		t.Fatalf("the chain has %d images: %s", len(chain), output)
	}
	if got := chain[0].Backing; got != "with_app.qcow2.backing/with_nginx.qcow2" {
		t.Errorf("the backing file is %q", got)
	}
	for name, limit := range map[string]int64{"WITH_NGINX": 100 << 20, "WITH_APP": 20 << 20, "DELETED": 20 << 20} {
		info, err := os.Stat(image(t, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes", name, info.Size())
		if info.Size() > limit {
			t.Errorf("%s has %d bytes", name, info.Size())
		}
	}
}

// The log has what the steps printed, and what was sealed.
func TestLog(t *testing.T) {
	log, err := os.ReadFile(strings.TrimSuffix(image(t, "WITH_APP"), ".qcow2") + ".log")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# //layers:configure.sh\n", "configured as root in /\n", "# /usr/local/bin/app\nthe app\n", "emptied /etc/machine-id\n"} {
		if !bytes.Contains(log, []byte(want)) {
			t.Errorf("the log does not have %q:\n%s", want, log)
		}
	}
}

func image(t *testing.T, variable string) string { return rlocation(t, os.Getenv(variable)) }

func qemuImg(t *testing.T) string { return rlocation(t, os.Getenv("QEMU_IMG")) }

func rlocation(t *testing.T, path string) string {
	t.Helper()
	located, err := runfiles.Rlocation(path)
	if err != nil {
		t.Fatal(err)
	}
	return located
}

// program returns the path of a program that may be outside PATH.
func program(name string) string {
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, name); exec.Command(path, "-V").Run() == nil {
			return path
		}
	}
	return name
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &out)
	}
	return out.String()
}
