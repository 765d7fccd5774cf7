"""Pages of documentation from docstrings."""

load("@bazel_skylib//rules:diff_test.bzl", "diff_test")

_UPDATE = "./bazelw run //docs:update"

def _api_page_impl(ctx):
    page = ctx.actions.declare_file(ctx.label.name + ".md")
    args = ctx.actions.args()
    args.add("-title", ctx.attr.title)
    args.add("-update", _UPDATE)
    args.add("-o", page)
    args.add_all(ctx.files.modules)
    ctx.actions.run(
        executable = ctx.executable._apidoc,
        arguments = [args],
        inputs = ctx.files.modules,
        outputs = [page],
        mnemonic = "ApiPage",
    )
    return DefaultInfo(files = depset([page]))

_api_page = rule(
    implementation = _api_page_impl,
    attrs = {
        "modules": attr.label_list(),
        "title": attr.string(),
        "_apidoc": attr.label(
            default = "//tools/apidoc",
            cfg = "exec",
            executable = True,
        ),
    },
)

def api_page(name, title, symbols):
    """Makes a page, and a test that compares it with the one in api/.

    Args:
      name: name of the page, without `.md`.
      title: its heading.
      symbols: a dict of the names on the page, by the .bzl file that users
        load them from. Of a rule that has the name of a macro, the attributes
        are added to those of the macro.
    """
    modules = []
    for file, names in symbols.items():
        module = "_%s_%d" % (name, len(modules))
        modules.append(module)

        # Bazel's own, without the Java toolchain that Stardoc needs.
        native.starlark_doc_extract(
            name = module,
            src = file,
            symbol_names = names,
            deps = [
                "//bzl:defs",
                "//bzl:prebuilt",
                "//bzl:qemu",
            ],
        )
    _api_page(
        name = name + "_page",
        modules = modules,
        title = title,
    )
    diff_test(
        name = name + "_test",
        size = "small",
        failure_message = "docs/api/%s.md differs from the docstrings; run: %s" % (name, _UPDATE),
        file1 = "api/%s.md" % name,
        file2 = name + "_page",
    )
