package cli_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
	"github.com/rules-qcow2/rules_qcow2/tools/qcow2gen/cli"
)

// A slow image takes long to write: it has many L2 tables.
const slowImage = "-q -o preallocation=metadata,cluster_size=512 t.qcow2 "

// both runs test with unnamed and with named temporary files.
func both(t *testing.T, test func(t *testing.T, environment []string)) {
	t.Run("unnamed", func(t *testing.T) { test(t, nil) })
	t.Run("named", func(t *testing.T) {
		defer cli.NameTemporaryFiles()()
		test(t, []string{namedTemporary + "=1"})
	})
}

func limitFileSize(bytes uint64) {
	syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: bytes})
}

// TestFullDisk limits the file size at many points of the output. No file may
// appear, change or be left behind.
func TestFullDisk(t *testing.T) {
	both(t, func(t *testing.T, environment []string) {
		dir := t.TempDir()
		mustRun(t, dir, "create", "-q", "existing.qcow2", "1M")
		before := readTree(t, dir)
		for _, call := range []string{
			"create -q t.qcow2 1G", "create -q existing.qcow2 1G", "create -q -o data_file=d.raw,data_file_raw=on t.qcow2 1M",
			"create -q --info-output=t.json -o data_file=d.raw t.qcow2 1G",
		} {
			for _, limit := range []int{0, 1, 511, 513, 65535, 65536, 70000, 131073, 196609, 200000} {
				cmd := program(t, dir, append(environment, fileSizeLimit+"="+strconv.Itoa(limit)), strings.Fields(call)...)
				var stdout, stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
				cmd.Run()
				if cmd.ProcessState.Success() {
					if limit < 196609 || strings.Contains(call, "data_file") {
						t.Errorf("%s succeeds although files are limited to %d bytes", call, limit)
					}
					mustRun(t, dir, "create", "-q", "existing.qcow2", "1M")
					os.Remove(filepath.Join(dir, "t.qcow2"))
					continue
				}
				checkRefused(t, qemuimg.Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}, "file too large")
				if diff := before.diff(readTree(t, dir)); diff != "" {
					t.Fatalf("%s with files limited to %d bytes: %s", call, limit, diff)
				}
			}
		}
	})
}

// TestKill kills the process at random moments. If temporary files have names, it
// sends signals that the process handles only after such a file exists: the
// process does not handle signals before.
func TestKill(t *testing.T) {
	t.Run("create", func(t *testing.T) { killAtRandom(t, createArgs(slowImage+"32M")) })
	t.Run("convert", func(t *testing.T) {
		source := filepath.Join(t.TempDir(), "source.raw")
		writeFile(t, noise(30<<20), source)
		killAtRandom(t, []string{"convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=512", source, "t.qcow2"})
	})
}

func killAtRandom(t *testing.T, args []string) {
	both(t, func(t *testing.T, environment []string) {
		dir := t.TempDir()
		began := time.Now()
		mustRunProgram(t, program(t, dir, environment, args...))
		life := time.Since(began)
		whole := readTree(t, dir)["t.qcow2"]
		named := len(environment) > 0
		handled := 0
		// On a busy machine most signals may come too late.
		for n := 0; n < 40 || named && handled == 0 && n < 400; n++ {
			s := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT}[n%3]
			old := ""
			os.Remove(filepath.Join(dir, "t.qcow2"))
			if n%2 == 0 {
				old = "what was there before"
				writeFile(t, old, dir, "t.qcow2")
			}
			cmd := program(t, dir, environment, args...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				cmd.Wait()
				close(ended)
			}()
			rest := life
			if named && s != syscall.SIGKILL {
				waitForTemporary(t, dir, ended)
				rest /= 4
			}
			time.Sleep(rand.N(rest))
			cmd.Process.Signal(s)
			<-ended
			if cmd.ProcessState.ExitCode() == 128+int(s) {
				handled++
			}
			checkWholeOrNone(t, dir, old, whole, s != syscall.SIGKILL)
		}
		if named && handled == 0 {
			t.Error("no signal came in time to be handled")
		}
	})
}

// waitForTemporary waits until dir contains a file other than t.qcow2, or the
// process has ended.
func waitForTemporary(t *testing.T, dir string, ended <-chan struct{}) {
	t.Helper()
	for {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if entry.Name() != "t.qcow2" {
				return
			}
		}
		select {
		case <-ended:
			return
		default:
		}
	}
}

// checkWholeOrNone checks that t.qcow2 contains old or whole; if old is "" it may
// be missing. If clean is true, dir must not contain other files.
func checkWholeOrNone(t *testing.T, dir, old, whole string, clean bool) {
	t.Helper()
	for name, text := range readTree(t, dir) {
		switch {
		case name != "t.qcow2" && clean:
			t.Errorf("%s is left behind", name)
		case name != "t.qcow2":
			os.Remove(filepath.Join(dir, name))
		case text != old && text != whole:
			t.Errorf("file is neither unchanged nor complete: %.100q", text)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "t.qcow2")); err != nil && old != "" {
		t.Error("the file that was there is lost")
	}
}

func createArgs(args string) []string { return append([]string{"create"}, strings.Fields(args)...) }

func mustRunProgram(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", cmd.Args, err, out)
	}
}

// TestSignalExitCode checks the exit code after a signal that comes while an
// image is written.
func TestSignalExitCode(t *testing.T) {
	dir := t.TempDir()
	for n := 0; ; n++ {
		cmd := program(t, dir, []string{namedTemporary + "=1"}, createArgs(slowImage+"512M")...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Once there is a temporary file, signals are handled.
		for found := false; !found; {
			entries, _ := os.ReadDir(dir)
			found = len(entries) > 0
		}
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code == 128+int(syscall.SIGTERM) {
			if entries, _ := os.ReadDir(dir); len(entries) != 0 {
				t.Errorf("files are left behind: %v", entries)
			}
			return
		} else if code != 0 || n == 20 {
			t.Fatalf("exit code is %d, want 143 or, if it was faster than the signal, 0", code)
		}
		os.Remove(filepath.Join(dir, "t.qcow2"))
	}
}

// TestConcurrent runs several processes that create the same file. Each succeeds,
// and the file is complete at any time.
func TestConcurrent(t *testing.T) {
	both(t, func(t *testing.T, environment []string) {
		dir := t.TempDir()
		images := map[string]bool{}
		for _, size := range []string{"1M", "20G"} {
			mustRun(t, dir, "create", "-q", "t.qcow2", size)
			images[readFile(t, dir, "t.qcow2")] = true
		}
		var processes sync.WaitGroup
		for n := range 8 {
			cmd := program(t, dir, environment, createArgs("-q t.qcow2 "+[]string{"1M", "20G"}[n%2])...)
			processes.Add(1)
			go func() {
				defer processes.Done()
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			}()
			if !images[readFile(t, dir, "t.qcow2")] {
				t.Error("the file is not whole")
			}
		}
		processes.Wait()
		files := readTree(t, dir)
		if !images[files["t.qcow2"]] || len(files) != 1 {
			t.Errorf("the file is not whole, or files are left behind: %d", len(files))
		}
	})
}

func TestPermissions(t *testing.T) {
	both(t, func(t *testing.T, _ []string) {
		dir := t.TempDir()
		defer syscall.Umask(syscall.Umask(0o027))
		mustRun(t, dir, "create", "-q", "-o", "data_file=d.raw", "--info-output=t.json", "t.qcow2", "1M")
		for _, name := range []string{"t.qcow2", "d.raw", "t.json"} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode() != 0o640 {
				t.Errorf("%s has mode %v, want 0640", name, info.Mode())
			}
		}
	})
}

// TestSpecialFiles checks that files which cannot be replaced are refused without
// waiting, and stay.
func TestSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	os.Symlink("loop", filepath.Join(dir, "loop"))
	os.Mkdir(filepath.Join(dir, "sub"), 0o777)
	for name, wrong := range map[string]string{"pipe": "pipe", "loop": "too many levels", "sub": "directory", "sub/": "directory", "/dev/null": "device"} {
		mustRefuse(t, dir, []string{name + ": ", wrong}, "create", name, "1M")
		mustRefuse(t, dir, []string{"data file " + name + ": ", wrong}, "create", "-o", "data_file="+name, "t.qcow2", "1M")
		mustRefuse(t, dir, []string{"--info-output " + name + ": ", wrong}, "create", "--info-output="+name, "t.qcow2", "1M")
	}
	mustRefuse(t, dir, []string{"pipe", "pipe is a named pipe"}, "create", "-b", "pipe", "-F", "raw", "t.qcow2", "1M")
	mustRefuse(t, dir, []string{"character device"}, "create", "-b", "/dev/zero", "-F", "raw", "t.qcow2", "1M")
}

// TestGrownFileShrinksBack checks that an existing data file is unchanged after an
// attempt to extend it fails.
func TestGrownFileShrinksBack(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, "data", dir, "d.raw")
	cmd := program(t, dir, []string{fileSizeLimit + "=400000"}, createArgs("-o data_file=d.raw,keep_data_file=on,data_file_raw=on t.qcow2 1M")...)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), "d.raw cannot be extended to 1048576 bytes: file too large") {
		t.Errorf("exit code is %d, output %q", code, out)
	}
	if files := readTree(t, dir); len(files) != 1 || files["d.raw"] != "data" {
		t.Errorf("files are %v", files)
	}
}

// TestInUse checks that the disk of a running guest is refused. It takes the locks
// that QEMU takes, which qemu-img respects too.
func TestInUse(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, dir, "create", "-q", "t.qcow2", "1M")
	f, err := os.OpenFile(filepath.Join(dir, "t.qcow2"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, offset := range []int64{100, 101, 201} {
		const setOpenFileLock = 37 // F_OFD_SETLK
		lock := syscall.Flock_t{Type: syscall.F_RDLCK, Start: offset, Len: 1}
		if err := syscall.FcntlFlock(f.Fd(), setOpenFileLock, &lock); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, dir, []string{"t.qcow2: ", "QEMU has it open"}, "create", "t.qcow2", "2M")
		lock.Type = syscall.F_UNLCK
		syscall.FcntlFlock(f.Fd(), setOpenFileLock, &lock)
	}
	lock := syscall.Flock_t{Type: syscall.F_RDLCK, Start: 201, Len: 1}
	syscall.FcntlFlock(f.Fd(), 37, &lock)
	if r := qemuimg.Run(t, dir, "create", "-f", "qcow2", "t.qcow2", "2M"); r.Code == 0 {
		t.Error("qemu-img does not respect the lock")
	}
}
