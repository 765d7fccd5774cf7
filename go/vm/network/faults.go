package network

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Faults are the defects of a link. They hold for each of its directions:
// with a Delay of 50 ms, a ping takes 100 ms longer. The zero value is a link
// without faults.
//
// Which frames are lost, duplicated or reordered depends on Seed, the name of
// the machine and the direction, and on nothing else: the same sequence of
// frames has the same faults in every run.
type Faults struct {
	// Loss, Duplicate and Reorder are rates from 0 to 1. A frame that is
	// reordered skips the delay, so Reorder requires Delay.
	Loss, Duplicate, Reorder float64
	// Delay is added to each frame. It varies by up to Jitter, which must be at
	// most Delay, in either direction. Jitter does not change the order.
	Delay, Jitter time.Duration
	// Rate is the bandwidth in bits per second. 0 is unlimited.
	Rate int64
	// Seed selects one of the sequences of random numbers.
	Seed uint64
}

// Limits of Faults, so that no sum overflows.
const (
	maxDelay = time.Hour
	minRate  = 1000
)

func (f Faults) check() error {
	for _, rate := range []struct {
		name  string
		value float64
	}{{"Loss", f.Loss}, {"Duplicate", f.Duplicate}, {"Reorder", f.Reorder}} {
		if !(rate.value >= 0 && rate.value <= 1) {
			return fmt.Errorf("the rate %s = %v must be from 0 to 1", rate.name, rate.value)
		}
	}
	switch {
	case f.Delay < 0 || f.Delay > maxDelay:
		return fmt.Errorf("the field Delay = %v must be from 0 to %v", f.Delay, maxDelay)
	case f.Jitter < 0 || f.Jitter > f.Delay:
		return fmt.Errorf("the field Jitter = %v must be from 0 to Delay, which is %v", f.Jitter, f.Delay)
	case f.Reorder > 0 && f.Delay == 0:
		return errors.New("the field Reorder requires a Delay that reordered frames skip")
	case f.Rate != 0 && f.Rate < minRate:
		return fmt.Errorf("the field Rate = %d must be at least %d bits per second, or 0 for unlimited", f.Rate, minRate)
	}
	return nil
}

// SetFaults replaces the faults of the port's link, and starts their random
// numbers again. Frames that are on the link arrive as they would have.
func (p *Port) SetFaults(f Faults) error {
	if err := f.check(); err != nil {
		return fmt.Errorf("network: faults of machine %q: %w", p.name, err)
	}
	p.up.setFaults(f)
	p.down.setFaults(f)
	return nil
}

// Cut cuts the port's cable: frames of both directions are lost, also those
// that are on the link. The guest's network card does not notice: its carrier
// stays up. Mend ends it.
func (p *Port) Cut() {
	p.up.setCut(true)
	p.down.setCut(true)
}

// Mend repairs a cable that Cut cut.
func (p *Port) Mend() {
	p.up.setCut(false)
	p.down.setCut(false)
}

// faults are the Faults of one direction, and their state.
type faults struct {
	Faults
	random *rand.Rand
	idle   time.Time // when a link with a Rate has sent all frames
}

// A fate says how often and when a frame arrives.
type fate struct {
	copies    int
	delay     time.Duration
	overtakes bool // frames that are due later
}

func newFaults(f Faults, wire string) faults {
	if f == (Faults{Seed: f.Seed}) {
		return faults{}
	}
	sum := sha256.Sum256([]byte(wire))
	return faults{Faults: f, random: rand.New(rand.NewPCG(f.Seed, binary.BigEndian.Uint64(sum[:])))}
}

// next decides about the next frame.
func (f *faults) next() fate {
	if f.random == nil {
		return fate{copies: 1}
	}
	// Always four numbers a frame: a Delay must not change which frames are lost.
	lost, twice, early, jitter := f.random.Float64(), f.random.Float64(), f.random.Float64(), f.random.Float64()
	if lost < f.Loss {
		return fate{}
	}
	result := fate{copies: 1, delay: f.Delay + time.Duration((2*jitter-1)*float64(f.Jitter))}
	if twice < f.Duplicate {
		result.copies = 2
	}
	if early < f.Reorder {
		result.delay, result.overtakes = 0, true
	}
	return result
}

// immediate tells whether a frame arrives at once, and once.
func (f *faults) immediate(result fate) bool {
	return result == fate{copies: 1} && f.Rate == 0
}

// due returns when a frame of that many bytes arrives that is sent now.
func (f *faults) due(size int, delay time.Duration) time.Time {
	if f.Rate == 0 && delay == 0 {
		return time.Time{}
	}
	now := time.Now()
	if f.Rate == 0 {
		return now.Add(delay)
	}
	if f.idle.Before(now) {
		f.idle = now
	}
	f.idle = f.idle.Add(time.Duration(float64(size*8) / float64(f.Rate) * float64(time.Second)))
	return f.idle.Add(delay)
}
