package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// MachineType asks QEMU for the versioned type of its machine.
func (m *Monitor) MachineType(ctx context.Context) (string, error) {
	answer, err := m.Execute(ctx, "qom-get", map[string]any{"path": "/machine", "property": "type"})
	if err != nil {
		return "", err
	}
	var class string
	if err := json.Unmarshal(answer, &class); err != nil {
		return "", err
	}
	return strings.TrimSuffix(class, "-machine"), nil
}

// SaveState writes the state of QEMU's devices to a new file. The RAM is in a file that
// all share: x-ignore-shared leaves it out.
func (m *Monitor) SaveState(ctx context.Context, path string) (err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	ours, theirs, err := SocketPair(syscall.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer ours.Close()
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(file, ours)
		copied <- err
	}()
	err = m.prepareMigration(ctx, theirs)
	theirs.Close()
	if err != nil {
		return err
	}
	if _, err := m.Execute(ctx, "migrate", map[string]any{"uri": "fd:" + migrationFD}); err != nil {
		return err
	}
	if err := m.waitMigration(ctx); err != nil {
		return err
	}
	select {
	case err := <-copied: // QEMU has closed its end
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// LoadState restores the state of QEMU's devices. The machine is paused after it.
func (m *Monitor) LoadState(ctx context.Context, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	ours, theirs, err := SocketPair(syscall.SOCK_STREAM)
	if err != nil {
		return err
	}
	var copying sync.WaitGroup
	defer copying.Wait()
	defer ours.Close()
	err = m.prepareMigration(ctx, theirs)
	theirs.Close()
	if err != nil {
		return err
	}
	if _, err := m.Execute(ctx, "migrate-incoming", map[string]any{"uri": "fd:" + migrationFD}); err != nil {
		return err
	}
	copying.Add(1)
	go func() {
		defer copying.Done()
		io.Copy(ours, file) // QEMU reports a state that ends early
	}()
	return m.waitMigration(ctx)
}

// migrationFD names the file descriptor of the state in QMP.
const migrationFD = "state"

// prepareMigration gives QEMU the file for a state, sets what both sides of a
// migration must agree on, and lifts the limit of the bandwidth.
func (m *Monitor) prepareMigration(ctx context.Context, file *os.File) error {
	if err := m.sendFile(ctx, migrationFD, file); err != nil {
		return err
	}
	capabilities := []map[string]any{{"capability": "x-ignore-shared", "state": true}}
	if _, err := m.Execute(ctx, "migrate-set-capabilities", map[string]any{"capabilities": capabilities}); err != nil {
		return err
	}
	_, err := m.Execute(ctx, "migrate-set-parameters", map[string]any{"max-bandwidth": int64(1) << 40})
	return err
}

// migrationPoll is the time between two questions for the state of a migration,
// which takes 5 to 60 ms.
const migrationPoll = time.Millisecond

// waitMigration waits until a migration is complete, in either direction.
func (m *Monitor) waitMigration(ctx context.Context) error {
	for {
		answer, err := m.Execute(ctx, "query-migrate", nil)
		if err != nil {
			return err
		}
		var migration struct {
			Status string `json:"status"`
			Error  string `json:"error-desc"`
		}
		if err := json.Unmarshal(answer, &migration); err != nil {
			return err
		}
		switch migration.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return fmt.Errorf("the migration failed: %s", migration.Error)
		}
		select {
		case <-time.After(migrationPoll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
