package qemu

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
)

// usernet is the relevant part of QEMU's description of its user network:
// protocol, descriptor, and from where to where.
var usernet = regexp.MustCompile(`(?m)^\s*(TCP|UDP)\[HOST_FORWARD\]\s+\d+\s+(\S+)\s+(\d+)\s+\S+\s+(\d+)`)

// ForwardedPorts returns the host's addresses of the ports that the user network
// forwards, as in "127.0.0.1:34567", by the protocol and the guest's port, as in "tcp:22".
func (m *Monitor) ForwardedPorts(ctx context.Context) (map[string]string, error) {
	answer, err := m.Execute(ctx, "human-monitor-command", map[string]any{"command-line": "info usernet"})
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
