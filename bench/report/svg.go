package report

import (
	"fmt"
	"html"
	"math"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
)

// Lengths of a plot, in pixels.
const (
	plotWidth  = 820
	labelWidth = 330 // for names, left of the bars
	valueWidth = 110 // for ratios, right of them
	barHeight  = 18
	barGap     = 5
	caseGap    = 26 // above each case, with its name
	margin     = 12
)

// SVG plots a table: for each contestant a bar of the median ratio of its time
// to that of the first reference, and a line from the lower to the upper
// quartile. The scale is logarithmic where the ratios are far apart, and then
// bars grow from 1 to either side.
func (t *Table) SVG() string {
	scale := t.scale()
	var body strings.Builder
	y := float64(margin)
	text := func(x, y float64, anchor, weight, s string) {
		fmt.Fprintf(&body, `<text x="%.1f" y="%.1f" text-anchor="%s" font-weight="%s">%s</text>`+"\n", x, y, anchor, weight, html.EscapeString(s))
	}
	text(margin, y+12, "start", "bold", fmt.Sprintf("%s: time ÷ %s", t.Title, t.References[0]))
	y += caseGap
	top := y
	for _, c := range t.Comparisons {
		if c.Case != "" {
			text(margin, y+caseGap-8, "start", "bold", c.Case)
			y += caseGap
		}
		for i, name := range c.Names {
			spread, ok := c.Ratio(i, t.References[0], measure.Seconds)
			if !ok {
				continue
			}
			from, to := scale.x(scale.origin), scale.x(spread.Median)
			color := "#3b6ea5"
			if name == t.References[0] {
				color = "#9aa5b1"
			}
			text(labelWidth-8, y+barHeight-5, "end", "normal", name)
			fmt.Fprintf(&body, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="%s"/>`+"\n", min(from, to), y, max(math.Abs(to-from), 1), barHeight, color)
			middle := y + barHeight/2
			fmt.Fprintf(&body, `<path d="M%.1f %.1fH%.1f" stroke="#1f2933" stroke-width="2"/>`+"\n", scale.x(spread.Lower), middle, scale.x(spread.Upper))
			text(plotWidth-margin, y+barHeight-5, "end", "normal", number(spread.Median))
			y += barHeight + barGap
		}
	}
	one := scale.x(1)
	fmt.Fprintf(&body, `<path d="M%.1f %.1fV%.1f" stroke="#52606d" stroke-dasharray="3 3"/>`+"\n", one, top, y)
	text(one, y+14, "middle", "normal", scale.name)
	y += 20 + margin
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" width="%d" height="%.0f" font-family="sans-serif" font-size="13" fill="#1f2933">
<rect width="100%%" height="100%%" fill="#ffffff"/>
%s</svg>
`, plotWidth, y, plotWidth, y, body.String())
}

// A plotScale maps ratios to pixels.
type plotScale struct {
	origin float64 // the ratio at which bars begin
	x      func(ratio float64) float64
	name   string
}

func (t *Table) scale() plotScale {
	low, high := 1.0, 1.0
	for _, c := range t.Comparisons {
		for i := range c.Names {
			if s, ok := c.Ratio(i, t.References[0], measure.Seconds); ok {
				low, high = min(low, s.Lower), max(high, s.Upper)
			}
		}
	}
	const width = plotWidth - labelWidth - valueWidth
	if high/low > 20 {
		span := math.Log(high / low)
		return plotScale{1, func(r float64) float64 { return labelWidth + math.Log(max(r, low)/low)/span*width }, "1 (logarithmic)"}
	}
	return plotScale{0, func(r float64) float64 { return labelWidth + r/high*width }, "1"}
}
