// A module of its own: those who use the library need not see a parser of Markdown among
// its dependencies.
module github.com/rules-qcow2/rules_qcow2/docs/snippets

go 1.24.0

require github.com/yuin/goldmark v1.8.7
