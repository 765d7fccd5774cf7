// Command program runs in the guest: it stands for a program under test.
package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "program:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: program echo WORD... | exit STATUS | upper | serve ADDRESS | get URL | background COMMAND... | random | now")
	}
	switch command, args := args[0], args[1:]; command {
	case "echo":
		fmt.Println(strings.Join(args, " "))
	case "exit":
		status, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "the status is", status)
		os.Exit(status)
	case "upper":
		text, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		fmt.Print(strings.ToUpper(string(text)))
	case "serve":
		return http.ListenAndServe(args[0], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "hello from %s", r.URL.Path)
		}))
	case "get":
		response, err := http.Get(args[0])
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(os.Stdout, response.Body)
		return err
	case "background":
		return exec.Command("/proc/self/exe", args...).Start()
	case "random":
		random := make([]byte, 32)
		rand.Read(random)
		fmt.Printf("%x\n", random)
	case "now":
		fmt.Println(time.Now().UnixNano())
	default:
		return fmt.Errorf("unknown command %q", command)
	}
	return nil
}
