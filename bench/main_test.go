package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/bench/convert"
	"github.com/rules-qcow2/rules_qcow2/bench/library"
	"github.com/rules-qcow2/rules_qcow2/bench/measure"
	"github.com/rules-qcow2/rules_qcow2/bench/report"
)

// TestMain makes the test binary the program that Env.Self names.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == library.ReadCommand {
		if err := library.Read(os.Args[2]); err != nil {
			panic(err)
		}
		return
	}
	if len(os.Args) > 2 && os.Args[1] == convert.Command {
		os.Exit(convert.Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// TestParts runs each sandboxed part once in its smallest form and checks that each
// contestant has a result.
func TestParts(t *testing.T) {
	for _, p := range parts {
		if !p.sandboxed {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			env := &measure.Env{Dir: t.TempDir(), Rounds: 1, Quick: true, Log: t.Logf}
			if err := env.Find(); err != nil {
				t.Fatal(err)
			}
			tables, err := p.run(env)
			if err != nil {
				t.Fatal(err)
			}
			if len(tables) == 0 {
				t.Fatal("no tables")
			}
			for _, table := range tables {
				checkTable(t, table)
			}
			checkImages(t, env)
			result := report.Part{Name: p.name, Machine: measure.Describe(env), Tables: tables}
			if err := result.Write(filepath.Join(t.TempDir(), "performance.md")); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestRenderWithoutSamples renders a page whose other parts were not measured.
func TestRenderWithoutSamples(t *testing.T) {
	page := filepath.Join(t.TempDir(), "performance.md")
	if err := renderParts(parts, page); err == nil || !strings.Contains(err.Error(), "does not have samples of the chosen parts") {
		t.Errorf("without samples, the error is %v", err)
	}
	measured := report.Part{Name: "create", Tables: []report.Table{{
		Name: "create", Title: "An empty image", References: []string{"theirs"},
		Comparisons: []measure.Comparison{{
			Names:   []string{"ours", "theirs"},
			Samples: [][]measure.Sample{{{Seconds: 1}}, {{Seconds: 2}}},
		}},
	}}}
	if err := measured.Write(page); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, []byte("<!-- begin create, written by //bench -->\n<!-- end create -->\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := renderParts(parts, page); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != string(want) {
		t.Errorf("the page is %q, %v, want %q", got, err, want)
	}
}

func checkTable(t *testing.T, table report.Table) {
	t.Helper()
	if len(table.Comparisons) == 0 {
		t.Errorf("%s: nothing is compared", table.Name)
	}
	for _, c := range table.Comparisons {
		for i, name := range c.Names {
			if len(c.Samples[i]) == 0 {
				t.Errorf("%s, %s, %s: no sample", table.Name, c.Case, name)
				continue
			}
			for _, reference := range table.References {
				if _, ok := c.Ratio(i, reference, measure.Seconds); !ok {
					t.Errorf("%s, %s, %s: no ratio to %s", table.Name, c.Case, name, reference)
				}
			}
		}
	}
}

// checkImages runs qemu-img check on the images in the scratch folder.
func checkImages(t *testing.T, env *measure.Env) {
	t.Helper()
	images, err := filepath.Glob(filepath.Join(env.Dir, "*.qcow2"))
	if err != nil {
		t.Fatal(err)
	}
	if len(images) == 0 {
		t.Error("no image is left to check")
	}
	for _, image := range images {
		if out, err := exec.Command(env.QemuImg, "check", "-f", "qcow2", image).CombinedOutput(); err != nil {
			t.Errorf("qemu-img check %s: %v: %s", filepath.Base(image), err, strings.TrimSpace(string(out)))
		}
	}
}
