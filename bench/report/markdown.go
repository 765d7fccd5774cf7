package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
)

// Markdown returns the part's section. Plots are links into dir.
func (p *Part) Markdown(dir string) string {
	var b strings.Builder
	for _, t := range p.Tables {
		fmt.Fprintf(&b, "### %s\n\n", t.Title)
		if t.Note != "" {
			fmt.Fprintf(&b, "%s\n\n", t.Note)
		}
		t.markdown(&b)
		fmt.Fprintf(&b, "\n![Plot of %s: time ÷ %s](%s/%s.svg)\n\n", t.Title, t.References[0], dir, t.Name)
	}
	rounds := "1 round"
	if n := p.rounds(); n != 1 {
		rounds = fmt.Sprintf("%d rounds", n)
	}
	fmt.Fprintf(&b, "%s: %s. %s.\n", p.Date, rounds, p.Machine)
	return b.String()
}

// rounds returns the least number of rounds of a comparison.
func (p *Part) rounds() int {
	least := math.MaxInt
	for _, t := range p.Tables {
		for _, c := range t.Comparisons {
			for _, samples := range c.Samples {
				least = min(least, len(samples))
			}
		}
	}
	return least
}

// columns are those that a table has only if a sample has such a value.
var columns = []struct {
	title  string
	value  func(measure.Sample) float64
	format func(measure.Spread) string
}{
	{"processor time", measure.CPU, func(s measure.Spread) string { return seconds(s.Median) }},
	{"memory", measure.Memory, func(s measure.Spread) string { return byteCount(s.Median) }},
	{"memory of the test", measure.TestMemory, func(s measure.Spread) string { return byteCount(s.Median) }},
	{"disk", measure.Disk, func(s measure.Spread) string { return byteCount(s.Median) }},
}

func (t *Table) markdown(b *strings.Builder) {
	cases := slices.ContainsFunc(t.Comparisons, func(c measure.Comparison) bool { return c.Case != "" })
	row := []string{"", "time"}
	if cases {
		row = slices.Insert(row, 0, "")
	}
	for _, reference := range t.References {
		row = append(row, "time ÷ "+reference)
	}
	var shown []int
	for i, column := range columns {
		if t.has(column.value) {
			shown = append(shown, i)
			row = append(row, column.title)
		}
	}
	writeRow(b, row)
	writeRow(b, strings.Split(strings.Repeat("---,", len(row)-1)+"---", ","))
	for _, c := range t.Comparisons {
		for i, name := range c.Names {
			row := []string{name, seconds(c.Of(i, measure.Seconds).Median)}
			if cases {
				row = slices.Insert(row, 0, c.Case)
			}
			for _, reference := range t.References {
				row = append(row, ratio(c, i, reference))
			}
			for _, column := range shown {
				cell := ""
				if spread := c.Of(i, columns[column].value); spread.Max > 0 {
					cell = columns[column].format(spread)
				}
				row = append(row, cell)
			}
			writeRow(b, row)
		}
	}
}

func (t *Table) has(value func(measure.Sample) float64) bool {
	for _, c := range t.Comparisons {
		for i := range c.Names {
			if c.Of(i, value).Max > 0 {
				return true
			}
		}
	}
	return false
}

func ratio(c measure.Comparison, contestant int, reference string) string {
	if c.Names[contestant] == reference {
		return "1"
	}
	s, ok := c.Ratio(contestant, reference, measure.Seconds)
	if !ok {
		return ""
	}
	return fmt.Sprintf("**%s** (%s–%s; %s–%s)", number(s.Median), number(s.Lower), number(s.Upper), number(s.Min), number(s.Max))
}

func writeRow(b *strings.Builder, cells []string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

// number formats three significant digits, or two decimals.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

func seconds(v float64) string {
	if v < 1 {
		return number(v*1000) + " ms"
	}
	return number(v) + " s"
}

func byteCount(v float64) string {
	units := []string{"B", "KiB", "MiB", "GiB"}
	unit := 0
	for v >= 1024 && unit < len(units)-1 {
		v /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%.0f B", v)
	}
	return fmt.Sprintf("%.3g %s", v, units[unit])
}
