package cli_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/internal/qemuimg"
)

var preparedFiles = regexp.MustCompile(`base|raw|mid|orphan|short|a:b|link|dangling`)

// prepare creates the files that createCalls use, if c names one of them.
func (c *call) prepare(t testing.TB) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o777); err != nil {
		t.Fatal(err)
	}
	if !preparedFiles.MatchString(c.line) {
		return dir
	}
	writeFile(t, strings.Repeat("base", 1<<15), dir, "base.raw")
	writeFile(t, strings.Repeat("odd", 333), dir, "odd.raw")
	writeFile(t, "", dir, "empty.raw")
	writeFile(t, "a file with a colon in its name", dir, "a:b")
	mustRun(t, dir, "create", "-q", "base.qcow2", "32M")
	mustRun(t, dir, "create", "-q", "-b", "base.qcow2", "-F", "qcow2", "mid.qcow2")
	mustRun(t, dir, "create", "-q", "-b", "../base.raw", "-F", "raw", "sub/mid.qcow2", "48M")
	mustRun(t, dir, "create", "-q", "-u", "-b", "nope.raw", "-F", "raw", "orphan.qcow2", "1M")
	writeFile(t, readFile(t, dir, "base.qcow2")[:20], dir, "short.qcow2")
	for link, target := range map[string]string{"link.qcow2": "base.qcow2", "dangling.qcow2": "sub/new.qcow2"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestCreateLikeQemuImg runs each call in qemu-img and in qcow2gen, in separate
// directories with the same files.
func TestCreateLikeQemuImg(t *testing.T) {
	needSameCommandLine(t)
	if testing.Short() {
		t.Skip("runs qemu-img several hundred times")
	}
	compareCalls(t, createCalls)
}

// TestCreateRandomCallsLikeQemuImg does the same with random calls, from a fixed
// seed.
func TestCreateRandomCallsLikeQemuImg(t *testing.T) {
	needSameCommandLine(t)
	if testing.Short() {
		t.Skip("runs qemu-img many times")
	}
	random := rand.New(rand.NewPCG(11, 1))
	words := func(choices ...string) string { return choices[random.IntN(len(choices))] }
	var calls strings.Builder
	for range 80 {
		options := []string{
			"compat=" + words("0.10", "1.1", "v2", "v3", "1.1", "v3"), "cluster_size=" + words("512", "1k", "4k", "8K", "16384", "0.5M", "2M", "3M"),
			"extended_l2=" + words("on", "off"), "lazy_refcounts=" + words("on", "off", "y"), "refcount_bits=" + words("1", "2", "8", "16", "16", "64", "3"),
			"compression_type=" + words("zlib", "zstd"), "lazy_refcounts", "noextended_l2", "encryption=off", "preallocation=off",
		}
		random.Shuffle(len(options), func(i, j int) { options[i], options[j] = options[j], options[i] })
		parts := []string{"t.qcow2", "-o " + strings.Join(options[:1+random.IntN(4)], words(",", ",", " -o "))}
		parts = append(parts, words("", "", "-b base.qcow2 -F qcow2", "-Fraw --backing=base.raw", "-u -b nope -B vmdk", "-b sub/mid.qcow2 -F qcow2", "-b base.raw"))
		parts = append(parts, words("-q", "", "--quiet", "--format=qcow2", "-o refcount_bits=16"))
		random.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		size := words("", "1M", "64G", "3.7T", "1000", fmt.Sprint(random.Uint64()>>(17+random.IntN(40))))
		fmt.Fprintln(&calls, strings.Join(strings.Fields(strings.Join(append(parts, size), " ")), " "))
	}
	compareCalls(t, calls.String())
}

func compareCalls(t *testing.T, text string) {
	calls := parseCalls(text)
	theirs := runCallsInQemuImg(t, calls)
	for n, c := range calls {
		t.Run(c.line, func(t *testing.T) { c.compare(t, <-theirs[n]) })
	}
}

type call struct {
	line    string
	args    []string
	refused string // part of our message, if we refuse what qemu-img accepts
}

func parseCalls(text string) []call {
	var calls []call
	for _, line := range strings.Split(text, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		c := call{line: line, args: []string{"create"}}
		words, refused, _ := strings.Cut(line, "  => ")
		c.refused = refused
		for _, word := range strings.Fields(words) {
			if word == `""` {
				word = ""
			}
			c.args = append(c.args, word)
		}
		if c.args[1] == "(nothing)" {
			c.args = c.args[:1]
		}
		calls = append(calls, c)
	}
	return calls
}

// An outcome is the result of a call and the files in its directory.
type outcome struct {
	qemuimg.Result
	dir   string
	files tree
}

// runCallsInQemuImg runs several processes at a time, while the caller compares
// their outcomes.
func runCallsInQemuImg(t testing.TB, calls []call) []chan outcome {
	qemuimg.Path(t) // ends the test here if there is none
	outcomes := make([]chan outcome, len(calls))
	dirs := make([]string, len(calls))
	for n, c := range calls {
		outcomes[n] = make(chan outcome, 1)
		dirs[n] = c.prepare(t)
	}
	next := make(chan int, len(calls))
	for n := range calls {
		next <- n
	}
	close(next)
	for range 3 {
		go func() {
			for n := range next {
				// Without -f, qemu-img creates a raw image.
				args := append([]string{"create", "-f", "qcow2"}, calls[n].args[1:]...)
				outcomes[n] <- outcome{qemuimg.Run(t, dirs[n], args...), dirs[n], readTree(t, dirs[n])}
			}
		}()
	}
	return outcomes
}

func (c *call) compare(t *testing.T, theirs outcome) {
	dir := c.prepare(t)
	if theirs.Code != 0 || c.refused != "" {
		if theirs.Code != 0 && c.refused != "" {
			t.Errorf("qemu-img refuses it too: %s", theirs.Stderr)
		}
		mustRefuse(t, dir, []string{c.refused}, c.args...)
		return
	}
	ours := run(t, dir, c.args...)
	if ours.Code != 0 || ours.Stderr != "" {
		t.Fatalf("qemu-img accepts it, qcow2gen fails with %d: %s", ours.Code, ours.Stderr)
	}
	if ours.Stdout != theirs.Stdout {
		t.Errorf("output is\n%sqemu-img's is\n%s", ours.Stdout, theirs.Stdout)
	}
	files := readTree(t, dir)
	if c.preallocated() {
		// The layout differs from QEMU's; the disk is the same.
		c.comparePreallocated(t, dir, files, theirs)
		return
	}
	if diff := theirs.files.diff(files); diff != "" {
		t.Errorf("files differ from qemu-img's: %s", diff)
	}
}

func (c *call) preallocated() bool {
	return strings.Contains(c.line, "preallocation=metadata") || strings.Contains(c.line, "data_file_raw=on")
}

func (c *call) comparePreallocated(t *testing.T, dir string, ours tree, theirs outcome) {
	for name := range ours {
		if filepath.Base(name) != "t.qcow2" {
			continue
		}
		qemuimg.Must(t, dir, "check", "-q", name)
		for _, key := range []string{"virtual size", "compat", "refcount bits", "extended l2", "data file", "data file raw", "cluster_size"} {
			a, b := infoLine(mustRun(t, dir, "info", name), key), infoLine(mustRun(t, theirs.dir, "info", name), key)
			if a != b {
				t.Errorf("info prints %q, and %q for qemu-img's image", a, b)
			}
		}
		delete(ours, name)
		delete(theirs.files, name)
	}
	if diff := theirs.files.diff(ours); diff != "" {
		t.Errorf("files differ from qemu-img's: %s", diff)
	}
}

func infoLine(info, key string) string {
	for line := range strings.Lines(info) {
		if strings.HasPrefix(strings.TrimSpace(line), key+":") {
			return line
		}
	}
	return ""
}
