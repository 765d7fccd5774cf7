package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// A spawn is one action in Bazel's execution log (spawn.proto, SpawnExec).
type spawn struct {
	Mnemonic    string   `json:"mnemonic"`
	TargetLabel string   `json:"targetLabel"`
	Runner      string   `json:"runner"`
	CacheHit    bool     `json:"cacheHit"`
	CommandArgs []string `json:"commandArgs"`
	Inputs      []struct {
		Path   string `json:"path"`
		Digest struct {
			Hash string `json:"hash"`
		} `json:"digest"`
	} `json:"inputs"`
}

func (s spawn) String() string {
	return fmt.Sprintf("%s of %s (%s)", s.Mnemonic, s.TargetLabel, s.Runner)
}

func readExecutionLog(path string) ([]spawn, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var spawns []spawn
	for decoder := json.NewDecoder(f); ; {
		var s spawn
		if err := decoder.Decode(&s); errors.Is(err, io.EOF) {
			return spawns, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		spawns = append(spawns, s)
	}
}

// withMnemonic returns the actions with the mnemonic.
func withMnemonic(spawns []spawn, mnemonic string) []spawn {
	var found []spawn
	for _, s := range spawns {
		if s.Mnemonic == mnemonic {
			found = append(found, s)
		}
	}
	return found
}

// locally is the runner of actions without options about strategies: Bazel runs the
// generator as a worker, and all others in a sandbox.
const locally = "locally"

// mustHave checks that each image has one action that creates it and one that checks
// it, and that each action ran as wanted.
func mustHave(spawns []spawn, runner string, cacheHit bool) error {
	for mnemonic, want := range map[string]int{
		"Qcow2Overlay": len(layers) - len(converted),
		"Qcow2Image":   len(converted),
		"Qcow2Check":   len(layers),
	} {
		if n := len(withMnemonic(spawns, mnemonic)); n != want {
			return fmt.Errorf("got %d actions %s, want %d: %v", n, mnemonic, want, spawns)
		}
	}
	if n := len(withMnemonic(spawns, "Genrule")); n != 1 {
		return fmt.Errorf("got %d actions Genrule, want 1: %v", n, spawns)
	}
	return ranAs(spawns, runner, cacheHit)
}

func ranAs(spawns []spawn, runner string, cacheHit bool) error {
	if len(spawns) == 0 {
		return errors.New("no action ran")
	}
	for _, s := range spawns {
		want := runner
		if runner == locally {
			want = "sandbox"
			if strings.HasPrefix(s.Mnemonic, "Qcow2") && s.Mnemonic != "Qcow2Image" {
				want = "worker"
			}
		}
		if s.CacheHit != cacheHit || !strings.Contains(s.Runner, want) {
			return fmt.Errorf("%v: got cache hit %v, want %v and runner %q", s, s.CacheHit, cacheHit, want)
		}
	}
	return nil
}
