"""Writes the results of parse_size to a file, for a test that compares them with qemu-img."""

load("//private:size.bzl", "parse_size")
load("//tests/analysis:size_tests.bzl", "REFUSED", "SIZES")

def _parsed_sizes_impl(ctx):
    # None, which becomes null, for a text that parse_size refuses.
    sizes = {text: parse_size(text)[0] for text in list(SIZES) + REFUSED}
    out = ctx.actions.declare_file(ctx.label.name + ".json")
    ctx.actions.write(out, json.encode_indent(sizes) + "\n")
    return [DefaultInfo(files = depset([out]))]

parsed_sizes = rule(implementation = _parsed_sizes_impl)
