package measure

import (
	"math"
	"slices"
)

// A Spread describes the distribution of values.
type Spread struct{ Min, Lower, Median, Upper, Max float64 }

// NewSpread returns the median, the quartiles and the extremes of at least one
// value. A quantile between two values is interpolated.
func NewSpread(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	quantile := func(q float64) float64 {
		position := q * float64(len(sorted)-1)
		below := math.Floor(position)
		low, high := sorted[int(below)], sorted[int(math.Ceil(position))]
		return low + (high-low)*(position-below)
	}
	return Spread{sorted[0], quantile(0.25), quantile(0.5), quantile(0.75), sorted[len(sorted)-1]}
}

// Of returns the spread of a value of the samples of a contestant.
func (c Comparison) Of(contestant int, value func(Sample) float64) Spread {
	var values []float64
	for _, s := range c.Samples[contestant] {
		values = append(values, value(s))
	}
	return NewSpread(values)
}

// Ratio returns the spread of the ratios of a contestant to the one named, each
// within one round. ok is false if that one did not run or took 0.
func (c Comparison) Ratio(contestant int, to string, value func(Sample) float64) (Spread, bool) {
	reference := slices.Index(c.Names, to)
	if reference < 0 {
		return Spread{}, false
	}
	var ratios []float64
	for round, s := range c.Samples[contestant] {
		divisor := value(c.Samples[reference][round])
		if divisor == 0 {
			return Spread{}, false
		}
		ratios = append(ratios, value(s)/divisor)
	}
	return NewSpread(ratios), true
}

// Seconds, CPU, Memory, Disk and TestMemory are arguments of Of and Ratio.
func Seconds(s Sample) float64    { return s.Seconds }
func CPU(s Sample) float64        { return s.CPU }
func Memory(s Sample) float64     { return float64(s.Memory) }
func Disk(s Sample) float64       { return float64(s.Disk) }
func TestMemory(s Sample) float64 { return float64(s.TestMemory) }
