package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// A page is a file of Markdown.
type page struct {
	path     string // relative to the checkout
	anchors  map[string]bool
	links    []link
	blocks   []*block
	messages []words // messages of the ruleset that it quotes
	code     []words // code within text
	outputs  []words // lines that list files in bazel-bin
	problems []string
}

type words struct {
	line int
	text string
}

type link struct {
	line        int
	destination string
}

// A block is a piece of code with a language.
type block struct {
	page      *page
	line      int // of its first line of code
	language  string
	code      string
	file      string   // its file name, or ""
	notRun    string   // the reason why it is not run, or ""
	builtOnly bool     // built, but not run
	skipped   []string // commands that are not run
}

func (b *block) place() string { return fmt.Sprintf("%s:%d", b.page.path, b.line) }

var (
	languages = []string{"bazelrc", "go", "python", "sh", "starlark"}

	mark        = regexp.MustCompile("^<!-- (not run|built, not run): (?:`([^`]+)`: )?(.*) -->\\s*$")
	fileName    = regexp.MustCompile("(?:^|\\s)`([\\w./-]+)`:$")
	htmlTargets = regexp.MustCompile(`\b(?:href|src|srcset)="([^"]*)"`)
	htmlIDs     = regexp.MustCompile(`\bid="([^"]*)"`)
)

func parsePage(path string, source []byte) *page {
	p := &page{path: path, anchors: map[string]bool{}}
	document := goldmark.New(goldmark.WithExtensions(extension.Table)).Parser().Parse(text.NewReader(source))
	line := func(offset int) int { return 1 + strings.Count(string(source[:offset]), "\n") }
	here := 1 // the current line, because inline nodes do not have one
	html := func(markup string) {
		for _, found := range htmlIDs.FindAllStringSubmatch(markup, -1) {
			p.anchors[found[1]] = true
		}
		for _, found := range htmlTargets.FindAllStringSubmatch(markup, -1) {
			p.links = append(p.links, link{here, found[1]})
		}
	}
	ast.Walk(document, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		if node.Type() == ast.TypeBlock && node.Lines().Len() > 0 {
			here = line(node.Lines().At(0).Start)
		}
		switch node := node.(type) {
		case *ast.Heading:
			p.addAnchor(plainText(node, source))
		case *ast.Link:
			p.links = append(p.links, link{here, string(node.Destination)})
		case *ast.Image:
			p.links = append(p.links, link{here, string(node.Destination)})
		case *ast.CodeSpan:
			p.code = append(p.code, words{here, plainText(node, source)})
		case *ast.Emphasis:
			p.addMessage(node, here, source)
		case *ast.HTMLBlock:
			html(string(node.Lines().Value(source)))
		case *ast.RawHTML:
			html(string(node.Segments.Value(source)))
		case *ast.FencedCodeBlock:
			if language := string(node.Language(source)); language != "" {
				p.addBlock(node, language, here, source)
				break
			}
			for i, output := range strings.Split(string(node.Lines().Value(source)), "\n") {
				if strings.HasPrefix(output, "bazel-bin/") {
					p.outputs = append(p.outputs, words{here + i, output})
				}
			}
		}
		return ast.WalkContinue, nil
	})
	return p
}

// addAnchor adds GitHub's anchor of a heading.
func (p *page) addAnchor(heading string) {
	anchor := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 0x80:
			return r
		}
		return -1
	}, strings.ToLower(heading))
	for n, unique := 1, anchor; ; n++ {
		if !p.anchors[unique] {
			p.anchors[unique] = true
			return
		}
		unique = fmt.Sprintf("%s-%d", anchor, n)
	}
}

// ofOthers matches the text after a message of another program.
var ofOthers = regexp.MustCompile(`^[^(—]*\((QEMU|Bazel|Linux|cloud-hypervisor)\b`)

func (p *page) addMessage(node *ast.Emphasis, line int, source []byte) {
	code, ok := node.FirstChild().(*ast.CodeSpan)
	if !ok || node.Level != 2 {
		return
	}
	var after strings.Builder
	for next := node.NextSibling(); next != nil; next = next.NextSibling() {
		if leaf, ok := next.(*ast.Text); ok {
			after.Write(leaf.Value(source))
		}
	}
	if !ofOthers.MatchString(after.String()) {
		p.messages = append(p.messages, words{line, strings.ReplaceAll(plainText(code, source), "\n", " ")})
	}
}

func (p *page) addBlock(node *ast.FencedCodeBlock, language string, line int, source []byte) {
	b := &block{page: p, line: line, language: language, code: string(node.Lines().Value(source))}
	p.blocks = append(p.blocks, b)
	before := node.PreviousSibling()
	for ; before != nil && before.Kind() == ast.KindHTMLBlock; before = before.PreviousSibling() {
		b.readMark(strings.TrimSpace(string(before.(*ast.HTMLBlock).Lines().Value(source))))
	}
	if before != nil && before.Kind() == ast.KindParagraph {
		if found := fileName.FindStringSubmatch(strings.TrimSpace(string(before.Lines().Value(source)))); found != nil {
			b.file = found[1]
		}
	}
	known := false
	for _, l := range languages {
		known = known || l == language
	}
	switch {
	case b.notRun != "":
	case !known:
		p.problems = append(p.problems, fmt.Sprintf("%s: unknown language %q; use %s, or a comment \"not run: why\"", b.place(), language, strings.Join(languages, ", ")))
	case b.file == "" && (language == "go" || language == "python"):
		p.problems = append(p.problems, fmt.Sprintf("%s: a program needs a file name: end the paragraph above with \"`name_test.go`:\"", b.place()))
	}
}

func (b *block) readMark(comment string) {
	found := mark.FindStringSubmatch(comment)
	switch {
	case found == nil:
		b.page.problems = append(b.page.problems, fmt.Sprintf("%s: the comment above must be \"not run: why\" or \"built, not run: why\", not %s", b.place(), comment))
	case found[1] == "built, not run":
		b.builtOnly = true
	case found[2] != "":
		b.skipped = append(b.skipped, found[2])
	default:
		b.notRun = found[3]
	}
}

// plainText returns the text of a node, without markup.
func plainText(node ast.Node, source []byte) string {
	var s strings.Builder
	ast.Walk(node, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if leaf, ok := node.(*ast.Text); ok && entering {
			s.Write(leaf.Value(source))
		}
		return ast.WalkContinue, nil
	})
	return s.String()
}
