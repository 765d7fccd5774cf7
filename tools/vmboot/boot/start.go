package boot

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/outputs"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/process"
	"github.com/rules-qcow2/rules_qcow2/tools/vmboot/qmp"
)

// start starts QEMU and all that feeds the inbox. The last message is how it
// ended: everything that it wrote comes before.
func (r *run) start() error {
	// -S: nothing of the guest happens before there is somebody to tell.
	args := append(r.machine.Args(), "-S")
	args = append(append(args, recorded...), process.QMPArgs...)
	var err error
	r.process, err = process.Start(r.machine.QEMU, args, append(os.Environ(), "TMPDIR="+r.Scratch))
	if err != nil {
		return err
	}
	r.qmp = qmp.New(r.process.QMP)

	var sources sync.WaitGroup
	source := func(read func()) {
		sources.Add(1)
		go func() {
			defer sources.Done()
			read()
		}()
	}
	source(func() { r.readConsole(r.process.Stdout) })
	source(func() { r.readStderr(r.process.Stderr) })
	source(func() {
		for event := range r.qmp.Events {
			r.inbox <- event
		}
	})
	go func() {
		sources.Wait()
		status, signal, err := r.process.Wait()
		r.inbox <- exit{status, signal, err}
	}()
	go func() { r.inbox <- ready{r.goOn()} }()
	return nil
}

func (r *run) readConsole(stdout io.Reader) {
	for {
		b := make([]byte, 16<<10)
		n, err := stdout.Read(b)
		if n > 0 {
			r.inbox <- b[:n]
		}
		if err != nil {
			return
		}
	}
}

func (r *run) readStderr(stderr io.Reader) {
	lines := bufio.NewReader(stderr)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.inbox <- stderrLine(strings.TrimRight(line, "\n"))
		}
		if err != nil {
			return
		}
	}
}

// goOn lets the guest run, once it is known how to reach it.
func (r *run) goOn() error {
	timeout := time.Hour
	if r.Limit > 0 {
		timeout = r.Limit
	}
	if _, err := r.qmp.Execute("qmp_capabilities", nil, timeout); err != nil {
		return err
	}
	if len(r.machine.Forward) > 0 {
		answer, err := r.qmp.Execute("human-monitor-command", map[string]any{"command-line": "info usernet"}, timeout)
		if err != nil {
			return err
		}
		var table string
		if err := json.Unmarshal(answer, &table); err != nil {
			return err
		}
		r.ports = forwardedPorts(table)
	}
	_, err := r.qmp.Execute("cont", nil, timeout)
	return err
}

// A line of "info usernet": protocol, descriptor, and from where to where.
var hostForward = regexp.MustCompile(`(?m)^\s*(TCP|UDP)\[HOST_FORWARD\]\s+\d+\s+(\S+)\s+(\d+)\s+\S+\s+(\d+)`)

// forwardedPorts returns the host's addresses by name of an environment
// variable for each.
func forwardedPorts(table string) map[string]string {
	ports := map[string]string{}
	for _, match := range hostForward.FindAllStringSubmatch(table, -1) {
		ports["VM_"+match[1]+"_"+match[4]] = match[2] + ":" + match[3]
	}
	return ports
}

// screenshot writes screenshot.png, if there is a display.
func (r *run) screenshot() error {
	if !r.machine.Display {
		return nil
	}
	path := filepath.Join(r.Outputs.Path, "screenshot.png")
	_, err := r.qmp.Execute("screendump", map[string]any{"filename": path, "format": "png"}, commandTimeout)
	if err == nil {
		return nil
	}
	// Before QEMU 7.1, and where it was built without libpng.
	os.Remove(path)
	raw := filepath.Join(r.Scratch, "screen.ppm")
	defer os.Remove(raw)
	if _, err := r.qmp.Execute("screendump", map[string]any{"filename": raw}, commandTimeout); err != nil {
		return err
	}
	ppm, err := os.ReadFile(raw)
	if err != nil {
		return err
	}
	picture, err := outputs.PNG(ppm)
	if err != nil {
		return err
	}
	return os.WriteFile(path, picture, 0o666)
}
