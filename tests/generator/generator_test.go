// Package generator_test runs the generator as actions do: many processes at a
// time, and processes that are killed.
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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

// The names of the files that the rule declares.
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

// arguments returns a command line that writes to out, a folder in the working
// directory.
func arguments(out string) []string {
	return []string{
		"create", "-q", "-o", "extended_l2=on,cluster_size=131072",
		"-b", base, "--standalone-backing", "--detect-backing-format", "--no-shrink",
		"--info-output=" + filepath.Join(out, metadata), filepath.Join(out, image), "20G",
	}
}

// qcow2gen returns a process in dir that is not started yet.
func qcow2gen(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	program, err := runfiles.Rlocation(os.Getenv("QCOW2GEN"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	return cmd
}

// create returns a process that is not started yet. It writes to out, a folder in
// dir.
func create(t *testing.T, dir, out string) *exec.Cmd {
	t.Helper()
	return qcow2gen(t, dir, arguments(out)...)
}

// newOuts makes a folder in dir for each of many images, and returns the names of
// the folders.
func newOuts(t *testing.T, dir string) []string {
	t.Helper()
	names := make([]string, many)
	for n := range names {
		names[n] = fmt.Sprint(n)
		if err := os.MkdirAll(filepath.Join(dir, names[n], filepath.Dir(base)), 0o755); err != nil {
			t.Fatal(err)
		}
		// The overlay's backing file name is relative to its folder.
		if err := os.Link(filepath.Join(dir, base), filepath.Join(dir, names[n], base)); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

const many = 200

// TestManyOnOneBase runs many processes at a time.
func TestManyOnOneBase(t *testing.T) {
	dir := newDir(t)
	before := read(t, dir, base)
	outs := newOuts(t, dir)
	var processes sync.WaitGroup
	for _, out := range outs {
		cmd := create(t, dir, out)
		processes.Add(1)
		go func() {
			defer processes.Done()
			if log, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("process %s: %v: %s", out, err, log)
			}
		}()
	}
	processes.Wait()
	checkMany(t, dir, outs, before)
}

// checkMany checks the image in each of outs, and that the base is unchanged.
func checkMany(t *testing.T, dir string, outs []string, before []byte) {
	t.Helper()
	if t.Failed() {
		return
	}
	// The image of a single process is the reference.
	if log, err := create(t, dir, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, log)
	}
	for _, out := range outs {
		for _, name := range []string{image, metadata} {
			if !bytes.Equal(read(t, dir, out, name), read(t, dir, name)) {
				t.Errorf("%s/%s differs from the file of a single process", out, name)
			}
		}
		entries, err := os.ReadDir(filepath.Join(dir, out))
		if err != nil || len(entries) != 3 {
			t.Errorf("%s contains %v, want the image, its metadata and its links: %v", out, entries, err)
		}
	}
	if !bytes.Equal(before, read(t, dir, base)) {
		t.Error("the base has changed")
	}
	last := filepath.Join(dir, outs[len(outs)-1])
	qemuimg.Must(t, last, "check", image)
	checkChain(t, last)
}

// TestWorker sends many requests to one persistent worker at once. Some of them
// fail.
func TestWorker(t *testing.T) {
	dir := newDir(t)
	before := read(t, dir, base)
	outs := newOuts(t, dir)
	var requests bytes.Buffer
	add := func(id int, arguments []string) {
		// Bazel also sends fields that the worker ignores.
		if err := json.NewEncoder(&requests).Encode(map[string]any{
			"arguments": arguments,
			"inputs":    []map[string]string{{"path": base, "digest": "0000"}},
			"requestId": id,
		}); err != nil {
			t.Fatal(err)
		}
	}
	const failing = 10
	for n, out := range outs {
		add(n+1, arguments(out))
		if n%(many/failing) == 0 {
			add(many+n+1, []string{"create", "-q", "nowhere/" + image, "1G"})
		}
	}
	cmd := qcow2gen(t, dir, "--persistent_worker")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = &requests, &stderr
	stdout, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("the worker ended with %v: %s", err, stderr.Bytes())
	}
	answered := map[int]bool{}
	for decoder := json.NewDecoder(bytes.NewReader(stdout)); decoder.More(); {
		var response struct {
			ExitCode, RequestID int
			Output              string
		}
		if err := decoder.Decode(&response); err != nil {
			t.Fatal(err)
		}
		if answered[response.RequestID] {
			t.Errorf("request %d is answered twice", response.RequestID)
		}
		answered[response.RequestID] = true
		want, output := 0, ""
		if response.RequestID > many {
			want, output = 1, "qcow2gen: nowhere/disk.qcow2: no such file or directory\n"
		}
		if response.ExitCode != want || response.Output != output {
			t.Errorf("response %+v, want the exit code %d and %q", response, want, output)
		}
	}
	if len(answered) != many+failing {
		t.Errorf("%d requests are answered, want %d", len(answered), many+failing)
	}
	checkMany(t, dir, outs, before)
}

// TestWorkerErrors sends invalid JSON to a worker, and runs the generator with a
// missing file of arguments.
func TestWorkerErrors(t *testing.T) {
	dir := t.TempDir()
	worker := qcow2gen(t, dir, "--persistent_worker")
	worker.Stdin = strings.NewReader("create disk.qcow2 1G\n")
	for _, c := range []struct {
		cmd  *exec.Cmd
		want string
	}{
		{worker, "qcow2gen: persistent worker: invalid character 'c' looking for beginning of value\n"},
		{qcow2gen(t, dir, "@nowhere"), "qcow2gen: cannot read arguments: open nowhere: no such file or directory\n"},
	} {
		c.cmd.Args[0] = "qcow2gen"
		log, err := c.cmd.CombinedOutput()
		if string(log) != c.want || c.cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%q: %v: %q, want %q", c.cmd.Args, err, log, c.want)
		}
	}
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

// TestKill kills the generator 1,000 times at random moments. A file that exists
// afterwards must be complete.
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
				t.Fatalf("%s is not complete: %d bytes, %v", name, len(content), err)
			}
			made[name]++
		}
	}
	if sha256.Sum256(read(t, dir, base)) != before {
		t.Error("the base has changed")
	}
	t.Logf("%d processes were killed, %d of them after they created the image", kills, made[image])
	if made[image] == 0 || made[image] == kills {
		t.Errorf("all kills came too early or too late: %d processes were killed, %d of them after they created the image", kills, made[image])
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
