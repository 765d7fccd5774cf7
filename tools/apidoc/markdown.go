package main

import (
	"fmt"
	"slices"
	"strings"
)

// A page is Markdown that is being written.
type page struct {
	strings.Builder
}

func render(title, update string, modules []moduleInfo) string {
	var p page
	fmt.Fprintf(&p, "<!-- Generated from the docstrings, do not edit: %s -->\n\n# %s\n", update, title)
	for _, m := range modules {
		for _, f := range m.Functions {
			p.symbol(f.Name, f.Doc, loadStatement(m.File, f.Name))
			p.function(f, ruleBehind(f, modules))
		}
		for _, r := range m.Rules {
			if isBehind(r, modules) {
				continue
			}
			p.symbol(r.Name, r.Doc, loadStatement(m.File, r.Name))
			p.heading(3, "Attributes")
			p.list()
			p.attributes(r.Name, r.Attributes)
		}
		for _, provider := range m.Providers {
			p.symbol(provider.Name, provider.Doc, loadStatement(m.File, provider.Name))
			p.heading(3, "Fields")
			p.list()
			for _, field := range provider.Fields {
				p.item(provider.Name, field.Name, nil, field.Doc)
			}
		}
		for _, e := range m.Extensions {
			p.symbol(e.Name, e.Doc, fmt.Sprintf("%s = use_extension(\"@rules_qcow2%s\", %[1]q)", e.Name, m.File))
			for _, tag := range e.Tags {
				name := e.Name + "." + tag.Name
				p.heading(3, name)
				p.text(tag.Doc)
				p.list()
				p.attributes(name, tag.Attributes)
			}
		}
	}
	return p.String()
}

func loadStatement(file, name string) string {
	return fmt.Sprintf("load(\"@rules_qcow2%s\", %q)", file, name)
}

// ruleBehind returns the rule that a macro of the same name hands its keyword
// arguments on to, if there is one among the modules.
func ruleBehind(f functionInfo, modules []moduleInfo) ruleInfo {
	for _, m := range modules {
		for _, r := range m.Rules {
			if r.Name == f.Name {
				return r
			}
		}
	}
	return ruleInfo{}
}

func isBehind(r ruleInfo, modules []moduleInfo) bool {
	return slices.ContainsFunc(modules, func(m moduleInfo) bool {
		return slices.ContainsFunc(m.Functions, func(f functionInfo) bool { return f.Name == r.Name })
	})
}

func (p *page) symbol(name, doc, use string) {
	p.heading(2, name)
	p.text("```starlark\n" + use + "\n```")
	p.text(doc)
}

// function lists the parameters of a macro, and what its keyword arguments may
// be besides: the attributes of the rule that it does not name itself.
func (p *page) function(f functionInfo, behind ruleInfo) {
	p.heading(3, "Attributes")
	p.list()
	named := map[string]bool{}
	for _, parameter := range f.Parameters {
		named[parameter.Name] = true
		if parameter.Name == "kwargs" {
			continue
		}
		var about []string
		switch {
		case parameter.Mandatory:
			about = append(about, "required")
		case !isEmpty(parameter.Default):
			about = append(about, "default `"+parameter.Default+"`")
		}
		p.item(f.Name, parameter.Name, about, parameter.Doc)
	}
	p.attributes(f.Name, slices.DeleteFunc(slices.Clone(behind.Attributes), func(a attributeInfo) bool {
		return named[a.Name]
	}))
	for _, parameter := range f.Parameters {
		if parameter.Name == "kwargs" {
			p.item(f.Name, "**kwargs", nil, parameter.Doc)
		}
	}
}

func (p *page) attributes(symbol string, attributes []attributeInfo) {
	for _, a := range attributes {
		about := []string{a.typeName()}
		switch {
		case a.Mandatory:
			about = append(about, "required")
		case !isEmpty(a.Default):
			about = append(about, "default `"+a.Default+"`")
		}
		if a.typeName() == "name" {
			about = about[1:]
		}
		p.item(symbol, a.Name, about, a.Doc)
	}
}

// isEmpty is about defaults that say nothing: the text puts in words what they
// stand for.
func isEmpty(value string) bool {
	return slices.Contains([]string{"", "None", `""`, "[]", "{}", "0"}, value)
}

func (p *page) heading(level int, text string) {
	fmt.Fprintf(p, "\n%s %s\n", strings.Repeat("#", level), text)
}

func (p *page) text(markdown string) {
	if markdown = strings.TrimSpace(markdown); markdown != "" {
		fmt.Fprintf(p, "\n%s\n", markdown)
	}
}

// list begins a list of items.
func (p *page) list() { p.WriteString("\n") }

// item is one of a list, with an anchor to link to: #symbol-name.
func (p *page) item(symbol, name string, about []string, doc string) {
	fmt.Fprintf(p, "- <a id=\"%s-%s\"></a>**`%s`**", symbol, strings.TrimLeft(name, "*"), name)
	if len(about) > 0 {
		fmt.Fprintf(p, " (%s)", strings.Join(about, ", "))
	}
	p.WriteString(":")
	for i, line := range strings.Split(strings.TrimSpace(doc), "\n") {
		switch {
		case i == 0:
			fmt.Fprintf(p, " %s\n", line)
		case line == "":
			p.WriteString("\n")
		default:
			fmt.Fprintf(p, "  %s\n", line)
		}
	}
}
