package vm

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rules-qcow2/rules_qcow2/go/vm/machine"
)

func saveable(_ *machine.Config, o *Options) { o.Saveable = true }

// All machines are paused before the first one ends.
func TestFreezeAll(t *testing.T) {
	b := startFake(t, "migrates", saveable)
	a := startFake(t, "migrates", func(c *machine.Config, o *Options) {
		o.Saveable = true
		o.Trace = func(step string) {
			if step != StepSaved {
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := b.Expect(ctx, "paused"); err != nil {
				t.Errorf("one machine was saved while the other one ran: %v", err)
			}
		}
	})
	snapshots, err := FreezeAll(t.Context(), a, b)
	if err != nil || len(snapshots) != 2 {
		t.Fatalf("got %d snapshots, %v", len(snapshots), err)
	}
	for i, m := range []*Machine{a, b} {
		if end := m.Close(); !end.Frozen {
			t.Errorf("machine %d ended with %+v, want that it is frozen", i, end)
		}
		if snapshots[i].ram != nil { // a file in memory
			if err := snapshots[i].Close(); err != nil {
				t.Errorf("the RAM of snapshot %d: %v", i, err)
			}
		}
	}
}

// If one machine cannot be saved, all end, and their RAM is given back.
func TestFreezeAllFails(t *testing.T) {
	for behaviour, want := range map[string]string{
		"does not migrate":          "freeze fake: the migration failed: no",
		"powers off in a migration": "freeze fake: the guest powered off",
	} {
		t.Run(behaviour, func(t *testing.T) {
			machines := []*Machine{startFake(t, "migrates", saveable), startFake(t, behaviour, saveable), startFake(t, "migrates", saveable)}
			rams := make([]*os.File, len(machines))
			for i, m := range machines {
				rams[i] = m.launch.ramFile
			}
			snapshots, err := FreezeAll(t.Context(), machines...)
			if err == nil || !strings.HasPrefix(err.Error(), want) || snapshots != nil {
				t.Fatalf("got %v, %v; want %q", snapshots, err, want)
			}
			for i, m := range machines {
				select {
				case <-m.Done():
				default:
					t.Errorf("machine %d still runs", i)
				}
				if ram := rams[i]; ram != nil && !errors.Is(ram.Close(), os.ErrClosed) { // a file in memory
					t.Errorf("the RAM of machine %d is still open", i)
				}
			}
		})
	}
}

func TestCannotFreeze(t *testing.T) {
	a, b := startFake(t, "migrates", saveable), startFake(t, "migrates", nil)
	_, err := FreezeAll(t.Context(), a, b)
	wantWords(t, err, "freeze fake: its RAM is not where it can be saved; start it with Options.Saveable")
	select {
	case <-a.Done():
		t.Error("the other machine ended")
	default:
	}
}
