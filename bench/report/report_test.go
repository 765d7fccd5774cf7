package report

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
)

func testPart(name string, ours float64) *Part {
	return &Part{Name: name, Tables: []Table{{
		Name: name, Title: "T & T", References: []string{"theirs"},
		Comparisons: []measure.Comparison{{
			Names:   []string{"ours", "theirs"},
			Samples: [][]measure.Sample{{{Seconds: ours, Disk: 4096}}, {{Seconds: 2}}},
		}},
	}}}
}

// Results replace their own sections; text written by hand stays.
func TestWrite(t *testing.T) {
	page := filepath.Join(t.TempDir(), "performance.md")
	if err := testPart("one", 1).Write(page); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, []byte("before\n"+string(text)+"after\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Part{testPart("two", 3), testPart("one", 8)} {
		if err := p.Write(page); err != nil {
			t.Fatal(err)
		}
	}
	text, err = os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	if !strings.HasPrefix(got, "before\n") || !strings.Contains(got, "\nafter\n") {
		t.Errorf("the text written by hand is gone:\n%s", got)
	}
	for row, want := range map[string]int{
		"| ours | 8.00 s | **4.00** (4.00–4.00; 4.00–4.00) | 4 KiB |": 1,
		"| ours | 3.00 s | **1.50** (1.50–1.50; 1.50–1.50) | 4 KiB |": 1,
		"| ours | 1.00 s": 0, // replaced
	} {
		if n := strings.Count(got, row); n != want {
			t.Errorf("%q is there %d times, want %d:\n%s", row, n, want, got)
		}
	}
	svg, err := os.ReadFile(strings.TrimSuffix(page, ".md") + "/one.svg")
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(svg, new(struct{})); err != nil {
		t.Errorf("the plot is not XML: %v", err)
	}
}
