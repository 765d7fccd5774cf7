package measure

import "testing"

func TestCompare(t *testing.T) {
	var order string
	contestant := func(name string, seconds ...float64) Contestant {
		run := 0
		return Contestant{Name: name, Run: func() (Sample, error) {
			order += name
			run++
			return Sample{Seconds: seconds[run-1]}, nil
		}}
	}
	c, err := Compare("", 5,
		contestant("A", 99, 2, 2, 6, 8, 1),
		contestant("B", 1, 1, 2, 2, 2, 4))
	if err != nil {
		t.Fatal(err)
	}
	if want := "ABABABABABAB"; order != want {
		t.Errorf("contestants ran in the order %s, want %s", order, want)
	}
	// Ratios of the rounds: 2, 1, 3, 4, 0.25.
	got, ok := c.Ratio(0, "B", Seconds)
	if want := (Spread{0.25, 1, 2, 3, 4}); !ok || got != want {
		t.Errorf("ratio is %v, %v, want %v", got, ok, want)
	}
	if got, want := c.Of(1, Seconds), (Spread{1, 2, 2, 2, 4}); got != want {
		t.Errorf("B is %v, want %v", got, want)
	}
	if _, ok := c.Ratio(0, "C", Seconds); ok {
		t.Error("there is a ratio to C, which did not run")
	}
}

func TestSpreadInterpolates(t *testing.T) {
	if got, want := NewSpread([]float64{4, 1, 3, 2}), (Spread{1, 1.75, 2.5, 3.25, 4}); got != want {
		t.Errorf("spread is %v, want %v", got, want)
	}
}
