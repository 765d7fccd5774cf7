package measure

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// An Env is the environment of a benchmark.
type Env struct {
	Dir      string // scratch folder, removed at the end
	Rounds   int
	Quick    bool // smallest sizes: shows that a benchmark works, not how long it takes
	QemuImg  string
	QemuIO   string
	Qcow2gen string
	Self     string // this program, to run parts of it in another process
	Log      func(format string, args ...any)
}

// Find finds the programs: in the runfiles, else on PATH.
func (e *Env) Find() error {
	for _, p := range []struct {
		path           *string
		variable, name string
	}{
		{&e.QemuImg, "QEMU_IMG", "qemu-img"},
		{&e.QemuIO, "QEMU_IO", "qemu-io"},
		{&e.Qcow2gen, "QCOW2GEN", "qcow2gen"},
	} {
		path, err := exec.LookPath(p.name)
		if rlocation := os.Getenv(p.variable); rlocation != "" {
			path, err = runfiles.Rlocation(rlocation)
		}
		if err != nil {
			return fmt.Errorf("%s is neither in the runfiles nor on PATH: %w", p.name, err)
		}
		if *p.path, err = filepath.Abs(path); err != nil {
			return err
		}
	}
	var err error
	e.Self, err = os.Executable()
	return err
}

// Size returns normal, or quick if e.Quick is set.
func (e *Env) Size(normal, quick int64) int64 {
	if e.Quick {
		return quick
	}
	return normal
}

// Path returns the path of a scratch file.
func (e *Env) Path(name string) string { return filepath.Join(e.Dir, name) }
