// Package report writes results: as JSON with every sample, as tables in Markdown
// and as plots in SVG.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
)

// A Part is the result of one benchmark.
type Part struct {
	Name    string          `json:"name"` // of its files and of its place in the page
	Date    string          `json:"date"`
	Machine measure.Machine `json:"machine"`
	Tables  []Table         `json:"tables"`
}

// A Table holds comparisons of the same contestants.
type Table struct {
	Name  string `json:"name"` // of the plot
	Title string `json:"title"`
	Note  string `json:"note,omitempty"`
	// References are the contestants that the others are compared with. The plot
	// shows ratios to the first.
	References  []string             `json:"references"`
	Comparisons []measure.Comparison `json:"comparisons"`
}

// Write writes dir/<name>.json, a plot of each table, and the part's section
// of the page next to dir.
func (p *Part) Write(page string) error {
	dir := strings.TrimSuffix(page, ".md")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	// A line for the samples of each contestant.
	text = bytes.ReplaceAll(text, []byte("}],"), []byte("}],\n"))
	if err := os.WriteFile(filepath.Join(dir, p.Name+".json"), append(text, '\n'), 0o666); err != nil {
		return err
	}
	for _, t := range p.Tables {
		if err := os.WriteFile(filepath.Join(dir, t.Name+".svg"), []byte(t.SVG()), 0o666); err != nil {
			return err
		}
	}
	old, err := os.ReadFile(page)
	if os.IsNotExist(err) {
		err = nil
	}
	if err != nil {
		return err
	}
	updated := replaceSection(string(old), p.Name, p.Markdown(filepath.Base(dir)))
	return os.WriteFile(page, []byte(updated), 0o666)
}

// Read reads a part that Write wrote.
func Read(file string) (*Part, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := &Part{}
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}

// replaceSection replaces the text between the markers of the section, or adds
// the text with markers at the end. All text outside of markers is written by
// hand.
func replaceSection(page, name, text string) string {
	begin := fmt.Sprintf("<!-- begin %s, written by //bench -->\n", name)
	end := fmt.Sprintf("<!-- end %s -->\n", name)
	before, rest, found := strings.Cut(page, begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		if page != "" {
			page += "\n"
		}
		return page + begin + text + end
	}
	return before + begin + text + end + after
}
