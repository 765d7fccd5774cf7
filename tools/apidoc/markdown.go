package main

import (
	"fmt"
	"slices"
	"strings"
)

// A page collects Markdown.
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

// ruleBehind returns the rule with the name of a macro, which the macro passes
// its keyword arguments to.
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

// function lists the parameters of a macro, and the attributes of its rule that
// it takes as keyword arguments.
func (p *page) function(f functionInfo, behind ruleInfo) {
	p.heading(3, "Attributes")
	p.list()
	named := map[string]bool{}
	for _, parameter := range f.Parameters {
		named[parameter.Name] = true
		if parameter.Name == "kwargs" {
			continue
		}
		kind, doc := splitType(parameter.Doc)
		p.item(f.Name, parameter.Name, about(kind, parameter.Mandatory, parameter.Default), doc)
	}
	p.attributes(f.Name, slices.DeleteFunc(slices.Clone(behind.Attributes), func(a attributeInfo) bool {
		// An attribute without documentation is for the macro only.
		return named[a.Name] || a.Doc == ""
	}))
	for _, parameter := range f.Parameters {
		if parameter.Name == "kwargs" {
			p.item(f.Name, "**kwargs", nil, parameter.Doc)
		}
	}
}

func (p *page) attributes(symbol string, attributes []attributeInfo) {
	for _, a := range attributes {
		kind := a.typeName()
		if kind == "name" {
			kind = ""
		}
		p.item(symbol, a.Name, about(kind, a.Mandatory, a.Default), a.Doc)
	}
}

// splitType splits the documentation of a macro's parameter, "(label) the base",
// into the type and the text.
func splitType(doc string) (kind, text string) {
	doc = strings.TrimSpace(doc)
	if after, ok := strings.CutPrefix(doc, "("); ok {
		// A type may have parentheses of its own: "disk_options()".
		if kind, text, ok = strings.Cut(after, ") "); ok {
			return kind, text
		}
	}
	return "", doc
}

// about returns what stands in parentheses behind a name.
func about(kind string, mandatory bool, value string) []string {
	var about []string
	if kind != "" {
		about = append(about, kind)
	}
	switch {
	case mandatory:
		about = append(about, "required")
	case !isEmpty(value):
		about = append(about, "default `"+value+"`")
	}
	return about
}

// isEmpty reports whether a default stands for one that the text describes.
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

// list starts a list of items.
func (p *page) list() { p.WriteString("\n") }

// item writes one item of a list, with an anchor: #symbol-name.
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
