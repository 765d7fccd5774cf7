package vm

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A shell must see the words that were put in, with its own folder.
func TestScript(t *testing.T) {
	words := []string{"printf", "%s\n", "", "it's", `a "quoted" word`, "$HOME", "two words", "*", "/scratch/x/disk", `{"filename":"/scratch/x/it's"}`, "comma,=:", "/out/sandbox/linux-sandbox/17/execroot/_main/a"}
	s := script{target: "//:t", dir: "/scratch/x", commands: [][]string{words}}
	text := strings.Replace(s.String(), "dir=$(mktemp -d)", "dir='/my own'", 1)
	out, err := exec.Command("sh", "-c", text).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var want []string
	for _, word := range words[2:] {
		word = strings.ReplaceAll(word, "/scratch/x", "/my own")
		want = append(want, strings.ReplaceAll(word, "/sandbox/linux-sandbox/17", ""))
	}
	if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); !slices.Equal(got, want) {
		t.Errorf("the shell sees %q, want %q", got, want)
	}
}
