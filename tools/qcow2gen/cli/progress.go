package cli

import (
	"fmt"
	"io"
)

// A progress prints the percentage that is done as qemu-img does
// (util/qemu-progress.c): on one line, in steps of at least 1. Calls must not
// overlap.
type progress struct {
	stdout  io.Writer // nil to print nothing
	total   uint64    // in bytes
	printed float64   // in percent
}

func newProgress(stdout io.Writer, on bool, total uint64) *progress {
	p := &progress{total: total}
	if on {
		p.stdout = stdout
		p.print(0)
	}
	return p
}

// at says that the bytes before offset are done.
func (p *progress) at(offset int64) {
	if p.stdout == nil || p.total == 0 {
		return
	}
	if percent := min(100, float64(offset)*100/float64(p.total)); percent >= p.printed+1 {
		p.print(percent)
	}
}

func (p *progress) print(percent float64) {
	p.printed = percent
	fmt.Fprintf(p.stdout, "    (%.2f/100%%)\r", percent)
}

// end ends the line, after 100 percent if everything is done.
func (p *progress) end(done bool) {
	if p.stdout == nil {
		return
	}
	if done {
		p.print(100)
	}
	fmt.Fprintln(p.stdout)
}
