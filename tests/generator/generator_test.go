// Package generator_test runs the generator as actions do, many at a time and
// killed on the way.
package generator_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// The names of what the rule asks for.
const (
	image    = "disk.qcow2"
	metadata = "disk.qcow2.json"
	base     = "disk.qcow2.backing/base.qcow2"
)

// newDir returns a folder with a base, as the rule lays it out.
func newDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, filepath.Dir(base)), 0o755); err != nil {
		t.Fatal(err)
	}
	qemuimg.Must(t, dir, "create", "-q", "-f", "qcow2", base, "10G")
	return dir
}

// create returns a process that is yet to be started. It writes to out, a folder
// in dir.
func create(t *testing.T, dir, out string) *exec.Cmd {
	t.Helper()
	qcow2gen, err := runfiles.Rlocation(os.Getenv("QCOW2GEN"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(qcow2gen, "create", "-q", "-o", "extended_l2=on,cluster_size=131072",
		"-b", base, "--detect-backing-format", "--no-shrink",
		"--info-output="+filepath.Join(out, metadata), filepath.Join(out, image), "20G")
	cmd.Dir = dir
	return cmd
}

func TestManyOnOneBase(t *testing.T) {
	dir := newDir(t)
	before := read(t, dir, base)
	var images, infos [200][]byte
	var processes sync.WaitGroup
	for n := range images {
		out := fmt.Sprint(n)
		if err := os.MkdirAll(filepath.Join(dir, out, filepath.Dir(base)), 0o755); err != nil {
			t.Fatal(err)
		}
		// What the overlay names is beside it.
		if err := os.Link(filepath.Join(dir, base), filepath.Join(dir, out, base)); err != nil {
			t.Fatal(err)
		}
		cmd := create(t, dir, out)
		processes.Add(1)
		go func() {
			defer processes.Done()
			if log, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("process %s: %v: %s", out, err, log)
				return
			}
			images[n], infos[n] = read(t, dir, out, image), read(t, dir, out, metadata)
		}()
	}
	processes.Wait()
	if t.Failed() {
		return
	}
	for n := range images {
		if !bytes.Equal(images[n], images[0]) || !bytes.Equal(infos[n], infos[0]) {
			t.Errorf("process %d made other bytes than process 0", n)
		}
	}
	if !bytes.Equal(before, read(t, dir, base)) {
		t.Error("the base has changed")
	}
	last := filepath.Join(dir, fmt.Sprint(len(images)-1))
	qemuimg.Must(t, last, "check", image)
	checkChain(t, last)
}

// checkChain checks that QEMU sees a disk of 20 GiB on the base.
func checkChain(t *testing.T, dir string) {
	t.Helper()
	var chain []struct {
		Format      string
		VirtualSize int64 `json:"virtual-size"`
	}
	if err := json.Unmarshal([]byte(qemuimg.Must(t, dir, "info", "--backing-chain", "--output=json", image)), &chain); err != nil {
		t.Fatal(err)
	}
	if len(chain) != 2 || chain[0].VirtualSize != 20<<30 || chain[1].VirtualSize != 10<<30 || chain[1].Format != "qcow2" {
		t.Errorf("the chain is %+v", chain)
	}
}

// TestKill kills the generator a thousand times, at moments all over its life:
// what is there under its name is whole.
func TestKill(t *testing.T) {
	dir := newDir(t)
	var lives []time.Duration
	for range 21 {
		began := time.Now()
		if log, err := create(t, dir, ".").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, log)
		}
		lives = append(lives, time.Since(began))
	}
	slices.Sort(lives)
	life := lives[len(lives)/2]
	qemuimg.Must(t, dir, "check", image)
	checkChain(t, dir)
	whole := map[string][sha256.Size]byte{image: sha256.Sum256(read(t, dir, image)), metadata: sha256.Sum256(read(t, dir, metadata))}
	before := sha256.Sum256(read(t, dir, base))

	const kills = 1000
	made := map[string]int{}
	for range kills {
		cmd := create(t, dir, ".")
		for name := range whole {
			os.Remove(filepath.Join(dir, name))
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(life))
		cmd.Process.Signal(syscall.SIGKILL)
		cmd.Wait()
		for name, want := range whole {
			content, err := os.ReadFile(filepath.Join(dir, name))
			if os.IsNotExist(err) {
				continue
			}
			if err != nil || sha256.Sum256(content) != want {
				t.Fatalf("%s is not whole: %d bytes, %v", name, len(content), err)
			}
			made[name]++
		}
	}
	if sha256.Sum256(read(t, dir, base)) != before {
		t.Error("the base has changed")
	}
	t.Logf("of %d killed processes %d had made the image", kills, made[image])
	if made[image] == 0 || made[image] == kills {
		t.Errorf("the kills came at the wrong times: of %d processes %d had made the image", kills, made[image])
	}
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Error(err)
	}
	return content
}
