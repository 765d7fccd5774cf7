// Command service is the program under test in docs/go-tests.md.
package main

import (
	"flag"
	"log"
	"net/http"
)

func main() {
	listen := flag.String("listen", "", "`address` to listen on")
	flag.Parse()
	log.Fatal(http.ListenAndServe(*listen, http.NotFoundHandler()))
}
