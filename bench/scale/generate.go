package scale

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

const bases = 10 // number of raw images that overlays share

// rules are the rules that overlays are compared with. %[1]q is the touch program.
const rules = `"""Rules that overlays are compared with."""

def _touch_action(ctx, name, inputs):
    out = ctx.actions.declare_file(name)
    ctx.actions.run(
        executable = %[1]q,
        arguments = [out.path],
        inputs = inputs,
        outputs = [out],
        mnemonic = "Touch",
        progress_message = "Touching %%{output}",
    )
    return out

def _touch_impl(ctx):
    return [DefaultInfo(files = depset([_touch_action(ctx, ctx.label.name, [])]))]

def _touch_twice_impl(ctx):
    out = _touch_action(ctx, ctx.label.name, [])
    return [
        DefaultInfo(files = depset([out])),
        OutputGroupInfo(_validation = depset([_touch_action(ctx, ctx.label.name + ".check", [out])])),
    ]

ShapeInfo = provider("The images below.", fields = ["files"])

def _shape_impl(ctx):
    name = ctx.label.name
    image = ctx.actions.declare_file(name + ".qcow2")
    metadata = ctx.actions.declare_file(name + ".qcow2.json")
    below = [ctx.file.backing]
    if ShapeInfo in ctx.attr.backing:
        below += ctx.attr.backing[ShapeInfo].files
    links = []
    for i, file in enumerate(below):
        link = ctx.actions.declare_file("%%s.qcow2.backing/%%d/%%s" %% (name, i, file.basename))
        ctx.actions.symlink(output = link, target_file = file)
        links.append(link)
    ctx.actions.run(
        executable = %[1]q,
        arguments = [image.path, metadata.path],
        outputs = [image, metadata],
        mnemonic = "Touch",
        progress_message = "Touching %%{output}",
    )
    report = _touch_action(ctx, name + ".qcow2.check.txt", [image])
    return [
        DefaultInfo(files = depset([image]), runfiles = ctx.runfiles([image] + links)),
        OutputGroupInfo(_validation = depset([report] + links)),
        ShapeInfo(files = below),
    ]

def _empty_impl(_ctx):
    return []

_ATTRS = {"backing": attr.label(allow_single_file = True)}

touch = rule(implementation = _touch_impl, attrs = _ATTRS)
shape = rule(implementation = _shape_impl, attrs = _ATTRS)
touch_twice = rule(implementation = _touch_twice_impl, attrs = _ATTRS)
empty = rule(implementation = _empty_impl, attrs = _ATTRS)
`

// generate writes the workspace.
func (w *workspace) generate() error {
	files := map[string]string{
		"MODULE.bazel": fmt.Sprintf(`bazel_dep(name = "rules_qcow2")
local_path_override(
    module_name = "rules_qcow2",
    path = %q,
)
`, w.ruleset),
		"BUILD.bazel": `exports_files(glob(["*.img"]))` + "\n",
		"rules.bzl":   fmt.Sprintf(rules, w.touch),

		"touch/BUILD.bazel":       w.targets(w.overlays, "touch"),
		"touch_twice/BUILD.bazel": w.targets(w.overlays, "touch_twice"),
		"overlay/BUILD.bazel":     w.targets(w.overlays, "qcow2_overlay"),
		"genrule/BUILD.bazel":     w.targets(w.overlays, "genrule"),
		"copy/BUILD.bazel":        copyTargets(),

		"one/BUILD.bazel":          w.targets(10, "qcow2_overlay"),
		"many_empty/BUILD.bazel":   w.targets(w.analysed, "empty"),
		"many_touch/BUILD.bazel":   w.targets(w.analysed, "touch"),
		"many_shape/BUILD.bazel":   w.targets(w.analysed, "shape"),
		"many_overlay/BUILD.bazel": w.targets(w.analysed, "qcow2_overlay"),
	}
	for name, text := range files {
		path := filepath.Join(w.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			return err
		}
	}
	for i := range bases {
		if err := w.writeBase(i); err != nil {
			return err
		}
	}
	return nil
}

// writeBase writes a raw image. The first is copied, so it is full of data.
func (w *workspace) writeBase(i int) error {
	f, err := os.Create(filepath.Join(w.dir, fmt.Sprintf("base%d.img", i)))
	if err != nil {
		return err
	}
	defer f.Close()
	size := w.Size(1<<30, 1<<20)
	if i > 0 {
		return f.Truncate(size)
	}
	buffered := bufio.NewWriterSize(f, 1<<20)
	if _, err := io.CopyN(buffered, rand.NewChaCha8([32]byte{}), size); err != nil {
		return err
	}
	return buffered.Flush()
}

// targets returns a BUILD file with n targets of a rule.
func (w *workspace) targets(n int, rule string) string {
	var b strings.Builder
	switch rule {
	case "qcow2_overlay":
		b.WriteString("load(\"@rules_qcow2//:defs.bzl\", \"qcow2_overlay\")\n")
	case "genrule":
	default:
		fmt.Fprintf(&b, "load(\"//:rules.bzl\", %q)\n", rule)
	}
	for i := range n {
		base, layer := fmt.Sprintf("//:base%d.img", i/10%bases), below(i)
		switch {
		case rule == "genrule":
			// With -u and a size, qemu-img does not open the base; nor does qcow2_overlay
			// below.
			backing, format := base, "raw"
			if layer >= 0 {
				backing, format = fmt.Sprintf("t%d.qcow2", layer), "qcow2"
			}
			fmt.Fprintf(&b, "genrule(name = \"t%d\", srcs = [%q], outs = [\"t%d.qcow2\"], cmd = \"%s create -q -u -f qcow2 -F %s -b $$(basename $<) $@ 20G\")\n", i, backing, i, w.qemuImg, format)
		case layer >= 0 && rule != "empty":
			fmt.Fprintf(&b, "%s(name = \"t%d\", backing = \":t%d\")\n", rule, i, layer)
		case rule == "qcow2_overlay":
			fmt.Fprintf(&b, "%s(name = \"t%d\", backing = %q, backing_format = \"raw\", size = \"20G\")\n", rule, i, base)
		default:
			fmt.Fprintf(&b, "%s(name = \"t%d\", backing = %q)\n", rule, i, base)
		}
	}
	return b.String()
}

// below returns the overlay below overlay i, -1 for a base. Of each ten overlays,
// seven are on a base, and three are a chain on the last of these.
func below(i int) int {
	if i%10 < 7 {
		return -1
	}
	return i - 1
}

func copyTargets() string {
	var b strings.Builder
	for i := range copies {
		fmt.Fprintf(&b, "genrule(name = \"t%d\", srcs = [\"//:base0.img\"], outs = [\"t%d.img\"], cmd = \"cp --reflink=auto $< $@\")\n", i, i)
	}
	return b.String()
}
