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

// saveableWithAgent is saveable for a machine with an agent.
func saveableWithAgent(c *machine.Config, o *Options) {
	c.Agent, o.Agent, o.Saveable = machine.AgentInstalled, true, true
}

// A guest that never rests is saved in spite of it, and one line says so.
func TestFreezeBusy(t *testing.T) {
	for behaviour, want := range map[string]string{
		"migrates, is at rest": "",
		"migrates, is busy":    `the guest was not at rest within 10s, and is saved as it is; its programs took "sh 9.87 s" of processor time`,
	} {
		t.Run(behaviour, func(t *testing.T) {
			snapshot, err := startFake(t, behaviour, saveableWithAgent).Freeze(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer snapshot.Close()
			if got := snapshot.Busy(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// If the programs of one guest do not stop, all machines go on.
func TestCannotStopPrograms(t *testing.T) {
	a, b := startFake(t, "migrates, is at rest", saveableWithAgent), startFake(t, "migrates, does not stop its programs", saveableWithAgent)
	_, err := FreezeAll(t.Context(), a, b)
	wantWords(t, err, "freeze fake: refused")
	if _, err := a.Freeze(t.Context()); err != nil {
		t.Error(err)
	}
}

// A machine whose guest does not get its own time does not start.
func TestResumeFails(t *testing.T) {
	for behaviour, want := range map[string]string{
		"migrates, does not set its clock": "the machine did not resume: the guest resumed, but its random numbers, its clock and its addresses could not be set: refused; build the snapshot again",
		"migrates, its agent hangs":        "the machine did not resume: the agent did not answer: the start took too long; it answered before the guest was saved",
	} {
		t.Run(behaviour, func(t *testing.T) {
			snapshot, err := startFake(t, behaviour, saveableWithAgent).Freeze(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer snapshot.Close()
			ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, errors.New("the start took too long"))
			defer cancel()
			m, err := snapshot.Start(ctx, Options{Dir: t.TempDir()})
			wantWords(t, err, want)
			if m != nil {
				m.Close()
			}
		})
	}
}
