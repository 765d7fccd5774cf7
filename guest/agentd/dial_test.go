//go:build linux

package main

import (
	"slices"
	"testing"
)

// A guest may have no resolver, and no /etc/hosts.
func TestAddresses(t *testing.T) {
	for _, test := range []struct {
		network, address string
		want             []string
	}{
		{"tcp", "localhost:80", []string{"127.0.0.1:80", "[::1]:80"}},
		{"tcp4", "LOCALHOST:http", []string{"127.0.0.1:http"}},
		{"tcp6", "localhost:80", []string{"[::1]:80"}},
		{"tcp", "localhost.example:80", []string{"localhost.example:80"}},
		{"tcp", "10.0.0.1:80", []string{"10.0.0.1:80"}},
		{"tcp", "localhost", []string{"localhost"}},
		{"unix", "localhost:80", []string{"localhost:80"}},
	} {
		if got := addresses(test.network, test.address); !slices.Equal(got, test.want) {
			t.Errorf("addresses(%q, %q) = %q, want %q", test.network, test.address, got, test.want)
		}
	}
}
