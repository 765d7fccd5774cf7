package guest_tests_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

var flagged = flag.String("flagged", "", "set by the target's args")

// The kernel's command line starts the agent.
func TestMachine(t *testing.T) {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	inside := strings.Contains(string(cmdline), "rules_qcow2")
	if want := os.Getenv("INSIDE") == "1"; inside != want {
		t.Errorf("inside is %v, want %v: %s", inside, want, cmdline)
	}
}

func TestRunfiles(t *testing.T) {
	path, err := runfiles.Rlocation(os.Getenv("DATA"))
	if err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "data\n" {
		t.Errorf("%s has %q, %v", path, content, err)
	}
	// Go tests run in their package's folder.
	if _, err := os.Stat("name with blanks.txt"); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(path, os.Getenv("TEST_SRCDIR")) {
		t.Errorf("%s is not below TEST_SRCDIR", path)
	}
}

// Links in folders are files in the guest; programs are programs.
func TestKinds(t *testing.T) {
	if content, err := os.ReadFile("tree/link"); err != nil || string(content) != "text\n" {
		t.Errorf("the link leads to %q, %v", content, err)
	}
	for name, want := range map[string]bool{"data.txt": false, "executable.sh": true} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if executable := info.Mode()&0o111 != 0; executable != want {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func TestManyRunfiles(t *testing.T) {
	for i := range 10000 {
		path, err := runfiles.Rlocation(fmt.Sprintf("%s/guest_tests/many/%d/%d", os.Getenv("TEST_WORKSPACE"), i%100, i))
		if err != nil {
			t.Fatal(err)
		}
		if content, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(content)) != fmt.Sprint(i) {
			t.Fatalf("%s has %.20q, %v", path, content, err)
		}
	}
}

// Files that the snapshot has already are links to them.
func TestStored(t *testing.T) {
	if os.Getenv("STORED") == "" {
		t.Skip("for a snapshot with runfiles")
	}
	for _, name := range []string{"many/0/0", "many/99/9999", "tree/link"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if links := info.Sys().(*syscall.Stat_t).Nlink; links < 2 {
			t.Errorf("%s was copied", name)
		}
	}
}

func TestArguments(t *testing.T) {
	if *flagged != "a value" {
		t.Errorf("the argument is %q", *flagged)
	}
}

func TestFolders(t *testing.T) {
	for _, variable := range []string{"TEST_TMPDIR", "TEST_UNDECLARED_OUTPUTS_DIR"} {
		path := filepath.Join(os.Getenv(variable), "file")
		if err := os.WriteFile(path, []byte("from the test\n"), 0o666); err != nil {
			t.Error(err)
		}
	}
	fmt.Println("this goes to standard output")
	fmt.Fprintln(os.Stderr, "this goes to standard error")
}
