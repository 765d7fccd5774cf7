// Package processes finds the processes that a test has left.
package processes

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// With returns the command lines of the processes that have a text in their
// environment or in their command line, by process id.
func With(text string) map[int]string {
	found := map[int]string{}
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		dir := filepath.Dir(file)
		pid, _ := strconv.Atoi(filepath.Base(dir))
		environ, _ := os.ReadFile(file)
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if bytes.Contains(environ, []byte(text)) || bytes.Contains(line, []byte(text)) {
			found[pid] = string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
		}
	}
	return found
}
