package vm

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
)

// Ports returns the host's addresses of forwarded ports, as in
// "127.0.0.1:34567", by the protocol and the guest's port, as in "tcp:22".
func (m *Machine) Ports() map[string]string { return m.ports }

// usernet is the relevant part of QEMU's description of its user network:
// protocol, descriptor, and from where to where.
var usernet = regexp.MustCompile(`(?m)^\s*(TCP|UDP)\[HOST_FORWARD\]\s+\d+\s+(\S+)\s+(\d+)\s+\S+\s+(\d+)`)

// forwardedPorts asks QEMU which ports of the host it has taken.
func forwardedPorts(ctx context.Context, qmp *qmpClient, c *Config) (map[string]string, error) {
	if len(c.ForwardPorts) == 0 {
		return nil, nil
	}
	answer, err := qmp.execute(ctx, "human-monitor-command", map[string]any{"command-line": "info usernet"})
	if err != nil {
		return nil, err
	}
	var table string
	if err := json.Unmarshal(answer, &table); err != nil {
		return nil, err
	}
	ports := map[string]string{}
	for _, match := range usernet.FindAllStringSubmatch(table, -1) {
		ports[strings.ToLower(match[1])+":"+match[4]] = match[2] + ":" + match[3]
	}
	return ports, nil
}
