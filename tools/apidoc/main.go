// Command apidoc makes a page of Markdown from what Bazel's
// starlark_doc_extract has read in .bzl files. It does what Stardoc does, where
// there is no Java toolchain, and merges a macro with the rule behind it.
//
//	apidoc -title TITLE -update COMMAND -o PAGE.md MODULE.binaryproto...
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"reflect"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("apidoc: ")
	title := flag.String("title", "", "heading of the page")
	update := flag.String("update", "", "command that generates the page, for a note at its top")
	out := flag.String("o", "", "file to write")
	flag.Parse()
	if err := run(*title, *update, *out, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func run(title, update, out string, files []string) error {
	var modules []moduleInfo
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var m moduleInfo
		if err := decode(content, reflect.ValueOf(&m).Elem()); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		modules = append(modules, m)
	}
	return os.WriteFile(out, []byte(render(title, update, modules)), 0o644)
}
