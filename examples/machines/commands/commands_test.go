package commands_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/rules-qcow2/rules_qcow2/go/vm"
	"github.com/rules-qcow2/rules_qcow2/go/vm/vmtest"
)

func TestService(t *testing.T) {
	service, err := runfiles.Rlocation(os.Getenv("SERVICE"))
	if err != nil {
		t.Fatal(err)
	}
	m := vmtest.Start(t, os.Getenv("MACHINE"))
	m.CopyTo(service, "/service")
	m.WriteFile("/page", []byte("hello"))

	// The service runs until the test ends.
	go m.VM.Exec(t.Context(), vm.Command{Args: []string{"/service", "serve", ":80"}})

	m.WaitForPort(80)

	// In a guest with a shell: m.Run("/service get http://127.0.0.1/page").
	if got := m.Output("/service", "get", "http://127.0.0.1/page"); got != "hello" {
		t.Errorf("in the guest: got %q, want hello", got)
	}

	// The same page from the host. The guest does not need a network card for that.
	response, err := http.Get("http://" + m.Forward(80) + "/page")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got, err := io.ReadAll(response.Body); err != nil || string(got) != "hello" {
		t.Errorf("from the host: got %q, %v, want hello", got, err)
	}

	// A failure is a result, with the command's exit status and outputs.
	var stderr bytes.Buffer
	result, err := m.VM.Exec(t.Context(), vm.Command{
		Args:   []string{"/service", "get", "http://127.0.0.1/missing"},
		Stderr: &stderr,
	})
	if err != nil || result.ExitStatus != 1 || stderr.String() != "404 Not Found\n" {
		t.Errorf("a missing page: got %v, %q, %v, want exit status 1 and 404", result, &stderr, err)
	}
}
