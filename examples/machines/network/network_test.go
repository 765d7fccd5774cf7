package network_test

import (
	"os"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

func TestFetch(t *testing.T) {
	service, err := runfiles.Rlocation(os.Getenv("SERVICE"))
	if err != nil {
		t.Fatal(err)
	}
	net := vmtest.Network(t)
	// The guests do not have a DHCP client: the agent sets their addresses.
	start := func(name string) *vmtest.Machine {
		return vmtest.Start(t, os.Getenv("MACHINE"), vmtest.WithNetwork(net), vmtest.WithName(name), vmtest.WithStaticAddresses())
	}
	server, client := start("server"), start("client") // they boot at the same time

	server.CopyTo(service, "/service")
	server.WriteFile("/page", []byte("hello"))
	go server.VM.Exec(t.Context(), vm.Command{Args: []string{"/service", "serve", ":80"}})

	client.CopyTo(service, "/service")
	get := vm.Command{Args: []string{"/service", "get", "http://server/page"}}
	if err := client.VM.WaitFor(t.Context(), get, 0); err != nil {
		t.Fatal(err)
	}
	if got := client.Output(get.Args...); got != "hello" {
		t.Errorf("got %q, want hello", got)
	}
}
