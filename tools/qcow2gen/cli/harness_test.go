package cli_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/need"
	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/cli"
	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/worker"
)

// Environment variables that make this test binary run as qcow2gen, for tests that
// need a process.
const (
	asProgram      = "QCOW2GEN_TEST_AS_PROGRAM"
	namedTemporary = "QCOW2GEN_TEST_NAMED_TEMPORARY" // see cli.NameTemporaryFiles
	fileSizeLimit  = "QCOW2GEN_TEST_FILE_SIZE_LIMIT" // in bytes; stands for a full disk
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	if os.Getenv(namedTemporary) != "" {
		cli.NameTemporaryFiles()
	}
	if limit, err := strconv.ParseUint(os.Getenv(fileSizeLimit), 10, 64); err == nil {
		limitFileSize(limit)
	}
	os.Exit(worker.Main(os.Args, os.Stdin, os.Stdout, os.Stderr, cli.Main))
}

// program returns a process of qcow2gen in dir that is not started yet.
func program(t testing.TB, dir string, environment []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Args[0] = "qcow2gen"
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), environment...)
	return cmd
}

// needSameCommandLine skips a test that compares the command line or the text
// output with qemu-img's, if qemu-img is older than the one that qcow2gen
// follows: QEMU 11 has more options and prints more.
func needSameCommandLine(t testing.TB) {
	t.Helper()
	version := qemuimg.Must(t, t.TempDir(), "--version")
	var major int
	if _, err := fmt.Sscanf(version, "qemu-img version %d.", &major); err != nil {
		t.Fatalf("version of qemu-img is %q: %v", version, err)
	}
	if major < 11 {
		need.Skip(t, "qcow2gen has the command line and the text of QEMU 11; qemu-img is of QEMU %d", major)
	}
}

// run runs qcow2gen in this process, in dir.
func run(t testing.TB, dir string, args ...string) qemuimg.Result {
	t.Helper()
	previous, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chdir(dir); err != nil {
		t.Fatal(err)
	}
	defer os.Chdir(previous)
	var stdout, stderr bytes.Buffer
	code := cli.Main(append([]string{"qcow2gen"}, args...), nil, &stdout, &stderr)
	return qemuimg.Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: code}
}

// mustRun is run, but ends the test unless qcow2gen succeeds. It returns the
// standard output.
func mustRun(t testing.TB, dir string, args ...string) string {
	t.Helper()
	r := run(t, dir, args...)
	if r.Code != 0 || r.Stderr != "" {
		t.Fatalf("qcow2gen %q failed with %d: %s", args, r.Code, r.Stderr)
	}
	return r.Stdout
}

// mustRefuse checks that a command line fails with a message that contains all of
// parts, and that no file in dir is created, changed or removed.
func mustRefuse(t testing.TB, dir string, parts []string, args ...string) {
	t.Helper()
	before := readTree(t, dir)
	r := run(t, dir, args...)
	checkRefused(t, r, parts...)
	if diff := before.diff(readTree(t, dir)); diff != "" {
		t.Errorf("qcow2gen %q was refused, but changed files: %s", args, diff)
	}
}

// checkRefused checks that r is an error of one line that contains all of parts.
func checkRefused(t testing.TB, r qemuimg.Result, parts ...string) {
	t.Helper()
	if r.Code != 1 {
		t.Errorf("exit code is %d, want 1", r.Code)
	}
	if r.Stdout != "" {
		t.Errorf("the error case writes to standard output: %q", r.Stdout)
	}
	sentence := strings.TrimSuffix(r.Stderr, "\n")
	if !strings.HasPrefix(sentence, "qcow2gen: ") || sentence == r.Stderr || strings.Contains(sentence, "\n") {
		t.Errorf("error is not one line with the prefix qcow2gen: %q", r.Stderr)
	}
	if strings.Contains(sentence, ": qcow2: ") || strings.Contains(sentence, ".qcow2gen-") {
		t.Errorf("error contains an internal name: %q", r.Stderr)
	}
	for _, part := range parts {
		if !strings.Contains(sentence, part) {
			t.Errorf("error %q does not contain %q", sentence, part)
		}
	}
}

// A tree maps the paths in a directory to the contents of files, to length and
// digest of files of 1 MiB and more, or to the type of anything else.
type tree map[string]string

func readTree(t testing.TB, dir string) tree {
	t.Helper()
	files := tree{}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if !entry.Type().IsRegular() {
			files[name] = entry.Type().String()
			return nil
		}
		files[name], err = contents(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func contents(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var small strings.Builder
	if n, err := io.CopyN(&small, f, 1<<20); n < 1<<20 {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return small.String(), err
	}
	digest := sha256.New()
	io.WriteString(digest, small.String())
	n, err := io.Copy(digest, f)
	return fmt.Sprintf("%d bytes, sha256 %x", 1<<20+n, digest.Sum(nil)), err
}

// diff lists the files that differ. It returns "" if none do.
func (a tree) diff(b tree) string {
	var differing []string
	for name, text := range a {
		if other, ok := b[name]; !ok {
			differing = append(differing, name+" is missing")
		} else if other != text {
			differing = append(differing, name+" differs")
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			differing = append(differing, name+" is new")
		}
	}
	return strings.Join(differing, ", ")
}

func writeFile(t testing.TB, text string, elem ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(elem...), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
