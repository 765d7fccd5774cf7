package commands_test

import (
	"bufio"
	"bytes"
	"fmt"
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

	// This guest does not have a shell. In one that has:
	// m.WaitFor("/service get http://127.0.0.1/page") and m.Run("uname -a").
	get := vm.Command{Args: []string{"/service", "get", "http://127.0.0.1/page"}}
	if err := m.VM.WaitFor(t.Context(), get, 0); err != nil {
		t.Fatal(err)
	}
	if got := m.Output("/service", "get", "http://127.0.0.1/page"); got != "hello" {
		t.Errorf("in the guest: got %q, want hello", got)
	}

	// The same page from the host. The guest does not need a network card for that.
	conn := m.Dial("tcp", 80)
	defer conn.Close()
	fmt.Fprint(conn, "GET /page HTTP/1.0\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
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
