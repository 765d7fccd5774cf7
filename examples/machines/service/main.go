// Command service is the program under test, which runs in the guest. `service serve
// ADDRESS` serves the guest's files by HTTP. `service get URL` prints one of them.
package main

import (
	"errors"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: service serve ADDRESS | service get URL")
	}
	var err error
	switch command, arg := os.Args[1], os.Args[2]; command {
	case "serve":
		err = http.ListenAndServe(arg, http.FileServer(http.Dir("/")))
	case "get":
		err = get(arg)
	default:
		log.Fatalf("unknown command %q; use serve or get", command)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func get(url string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}
