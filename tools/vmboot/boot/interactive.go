package boot

import (
	"errors"
	"fmt"
	"os"

	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/config"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/process"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/scratch"
)

// Interactive runs a machine on the terminal until it ends, or the user leaves
// it. What the guest writes is thrown away unless keep says otherwise.
func Interactive(c *config.Config, args []string, keep bool) (err error) {
	dir, err := scratch.New("")
	if err != nil {
		return err
	}
	defer func() {
		if keep {
			fmt.Fprintf(os.Stderr, "%s: what the guest wrote is kept in %s\n", c.Target, dir.Path)
			return
		}
		err = errors.Join(err, dir.Remove())
	}()
	m, _, err := Prepare(c, dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s: under %s; Ctrl-A X leaves, Ctrl-A H lists what else there is\n", c.Target, m.Accelerator)
	all := append(append(m.Args(), interactive...), args...)
	return process.Foreground(c.QEMU, all, append(os.Environ(), "TMPDIR="+dir.Path))
}
