package qcow2_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// withoutExample lists calls without an example, and the reason.
var withoutExample = map[string]string{
	"Error":                "a method of an error",
	"Unwrap":               "a method of an error",
	"RegisterCompressor":   "only the package compress calls it",
	"RegisterDecompressor": "only the package zstd calls it",
}

// TestExamples checks that each exported function and method has an example and
// a comment.
func TestExamples(t *testing.T) {
	positions := token.NewFileSet()
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]*ast.File{} // by package
	for _, source := range sources {
		file, err := parser.ParseFile(positions, source, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if internalTest := file.Name.Name == "qcow2" && strings.HasSuffix(source, "_test.go"); !internalTest {
			files[file.Name.Name] = append(files[file.Name.Name], file)
		}
	}
	called := map[string]bool{}
	for _, file := range files["qcow2_test"] {
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "Example") {
				continue
			}
			ast.Inspect(f, func(node ast.Node) bool {
				if selector, ok := node.(*ast.SelectorExpr); ok {
					called[selector.Sel.Name] = true
				}
				return true
			})
		}
	}
	exported := 0
	for _, file := range files["qcow2"] {
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() || f.Recv != nil && !exportedReceiver(f) {
				continue
			}
			exported++
			if f.Doc == nil && withoutExample[f.Name.Name] == "" {
				t.Errorf("%s: %s has no comment", positions.Position(f.Pos()), f.Name.Name)
			}
			if !called[f.Name.Name] && withoutExample[f.Name.Name] == "" {
				t.Errorf("%s: no example calls %s", positions.Position(f.Pos()), f.Name.Name)
			}
		}
	}
	if exported == 0 {
		t.Fatal("the directory of the test has no sources")
	}
}

func exportedReceiver(f *ast.FuncDecl) bool {
	receiver := f.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	name, ok := receiver.(*ast.Ident)
	return ok && name.IsExported()
}
