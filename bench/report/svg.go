package report

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"

	"github.com/rules-qcow2/rules_qcow2/bench/measure"
)

// Lengths in a plot, in pixels.
const (
	plotWidth  = 820
	labelWidth = 300 // for names, left of the bars
	valueWidth = 80  // for ratios, right of them
	barHeight  = 18
	barGap     = 6
	caseGap    = 28 // above each case, with its name
	titleGap   = 54 // above the bars, with the title and the unit
	tickHeight = 22 // below the bars
	margin     = 12
)

// Colours of a plot. They have enough contrast on white.
const (
	ink       = "#1f2933"
	faintInk  = "#52606d"
	gridLine  = "#d9e2ec"
	baseline  = "#9b1c1c"
	otherBars = "#7b8794"
)

// colors gives a contestant the same colour in all plots. The first prefix of its
// name counts.
var colors = []struct{ prefix, color string }{
	{"qcow2_overlay", "#2563a8"},
	{"qcow2gen", "#2563a8"},
	{"go/qcow2", "#2563a8"},
	{"qemu_snapshot", "#2563a8"},
	{"Fork", "#2563a8"},
	{"agent", "#2563a8"},
	{"qemu-img convert", "#b7791f"},
	{"qemu-img", "#d97706"},
	{"genrule, qemu-img", "#d97706"},
	{"raw copy", "#6b8e23"},
	{"cp", "#6b8e23"},
	{"touch", otherBars},
}

func colorOf(name string) string {
	for _, c := range colors {
		if strings.HasPrefix(name, c.prefix) {
			return c.color
		}
	}
	return otherBars
}

// SVG plots a table: for each contestant a bar of the median ratio of its time
// to that of the first reference, and a line from the lower to the upper
// quartile. A vertical line marks the reference. If the ratios are far apart, the
// scale is logarithmic, and bars begin at the reference.
func (t *Table) SVG() string {
	scale := t.scale()
	var bars, body strings.Builder
	text := func(b *strings.Builder, x, y float64, anchor, style, s string) {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" %s>%s</text>`+"\n", x, y, anchor, style, html.EscapeString(s))
	}
	y := float64(margin + titleGap)
	top := y
	for _, c := range t.Comparisons {
		if c.Case != "" {
			text(&bars, margin, y+caseGap-9, "start", `font-weight="bold"`, c.Case)
			y += caseGap
		}
		for i, name := range c.Names {
			spread, ok := c.Ratio(i, t.References[0], measure.Seconds)
			if !ok {
				continue
			}
			from, to := scale.x(scale.origin), scale.x(spread.Median)
			middle := y + barHeight/2
			text(&bars, labelWidth-8, y+barHeight-5, "end", "", name)
			if from == to { // the reference on a logarithmic scale
				fmt.Fprintf(&bars, `<circle cx="%.1f" cy="%.1f" r="5" fill="%s"/>`+"\n", to, middle, colorOf(name))
			} else {
				fmt.Fprintf(&bars, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="%s"/>`+"\n", min(from, to), y, max(math.Abs(to-from), 1), barHeight, colorOf(name))
			}
			fmt.Fprintf(&bars, `<path d="M%.1f %.1fH%.1f" stroke="%s" stroke-width="2"/>`+"\n", scale.x(spread.Lower), middle, scale.x(spread.Upper), ink)
			text(&bars, plotWidth-margin, y+barHeight-5, "end", "", number(spread.Median))
			y += barHeight + barGap
		}
	}
	text(&body, margin, margin+14, "start", `font-weight="bold" font-size="15"`, t.Title)
	unit := "time ÷ time of " + t.References[0] + "; lower is better"
	if scale.origin != 0 {
		unit += "; logarithmic scale"
	}
	text(&body, margin, margin+34, "start", fmt.Sprintf(`fill="%s"`, faintInk), unit)
	for _, tick := range scale.ticks {
		x := scale.x(tick)
		fmt.Fprintf(&body, `<path d="M%.1f %.1fV%.1f" stroke="%s"/>`+"\n", x, top, y, gridLine)
		text(&body, x, y+15, "middle", fmt.Sprintf(`fill="%s" font-size="12"`, faintInk), strconv.FormatFloat(tick, 'g', -1, 64))
	}
	body.WriteString(bars.String())
	one := scale.x(1)
	fmt.Fprintf(&body, `<path d="M%.1f %.1fV%.1f" stroke="%s" stroke-width="1.5" stroke-dasharray="5 3"/>`+"\n", one, top, y, baseline)
	text(&body, one, top-2, "middle", fmt.Sprintf(`fill="%s" font-size="12"`, baseline), t.References[0])
	y += tickHeight + margin
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" width="%d" height="%.0f" font-family="sans-serif" font-size="13" fill="%s">
<rect width="100%%" height="100%%" fill="#ffffff"/>
%s</svg>
`, plotWidth, y, plotWidth, y, ink, body.String())
}

// A plotScale maps ratios to pixels.
type plotScale struct {
	origin float64 // the ratio at which bars begin
	ticks  []float64
	x      func(ratio float64) float64
}

// logarithmicFrom is the greatest ratio between two bars on a linear scale.
const logarithmicFrom = 20

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
	if high/low > logarithmicFrom {
		// Whole decades.
		first, last := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
		var ticks []float64
		for e := first; e <= last; e++ {
			ticks = append(ticks, math.Pow(10, e))
		}
		return plotScale{1, ticks, func(r float64) float64 {
			return labelWidth + (max(math.Log10(r), first)-first)/(last-first)*width
		}}
	}
	step := tickStep(high)
	var ticks []float64
	for i := 0; float64(i)*step <= high; i++ {
		ticks = append(ticks, math.Round(float64(i)*step*1000)/1000)
	}
	return plotScale{0, ticks, func(r float64) float64 { return labelWidth + r/high*width }}
}

// tickStep returns 1, 2 or 5 times a power of ten that divides the range into at
// most eight parts.
func tickStep(high float64) float64 {
	step := math.Pow(10, math.Floor(math.Log10(high/8)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if high/(step*factor) <= 8 {
			return step * factor
		}
	}
	return 10 * step
}
