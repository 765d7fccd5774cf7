"""A repository of packages of a Go module."""

_GO_MOD = """\
module vendored

go {go}

require {module} {version}
"""

_IMPORTS = """\
package vendored

import (
{imports}
)
"""

# Where Go keeps its files while it runs.
_SCRATCH = "scratch"

def _go_vendor_impl(rctx):
    rctx.file("go.mod", _GO_MOD.format(go = rctx.attr.go, module = rctx.attr.module, version = rctx.attr.version))
    rctx.file("go.sum", "".join([line + "\n" for line in rctx.attr.sums]))
    rctx.file("imports.go", _IMPORTS.format(imports = "\n".join(["\t_ \"%s\"" % path for path in rctx.attr.imports])))

    rctx.report_progress("fetching %s %s with Go" % (rctx.attr.module, rctx.attr.version))
    sdk = rctx.path(rctx.attr.go_sdk).dirname
    go = sdk.get_child("bin", "go.exe" if rctx.os.name.startswith("windows") else "go")

    # Go downloads the module as the user configured it (GOPROXY, GOPRIVATE, …),
    # compares it with go.sum, and copies the packages that imports.go needs.
    result = rctx.execute([go, "mod", "vendor"], environment = _environment(rctx, sdk))
    if result.return_code != 0:
        fail("%s %s cannot be fetched with `go mod vendor`; check the network and GOPROXY, or use prebuilt programs:\n%s" % (
            rctx.attr.module,
            rctx.attr.version,
            result.stderr.strip(),
        ))
    rctx.delete(_SCRATCH)
    rctx.template("BUILD.bazel", rctx.attr.build_file, {"{version}": rctx.attr.version})
    return rctx.repo_metadata(reproducible = True) if hasattr(rctx, "repo_metadata") else None

def _environment(rctx, sdk):
    """Returns the variables that differ from those of Bazel's caller."""
    scratch = str(rctx.path(_SCRATCH))
    environment = {
        "GO111MODULE": "on",
        "GOCACHE": scratch + "/build",
        # Flags are for the user's own builds. With this one, Bazel can delete the files.
        "GOFLAGS": "-modcacherw",
        "GOROOT": str(sdk),
        # Never another Go than the one that Bazel has.
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    if not rctx.getenv("GOMODCACHE"):
        environment["GOMODCACHE"] = scratch + "/mod"
    return environment

go_vendor = repository_rule(
    implementation = _go_vendor_impl,
    doc = """\
Packages of a Go module in the folder `vendor`, as `go mod vendor` copies them: with
the packages that they need, without tests. It runs a Go SDK of rules_go, and nothing
is compiled. The environment variable GOMODCACHE names a module cache to use.""",
    attrs = {
        "build_file": attr.label(
            doc = "The BUILD file. `{version}` in it is replaced.",
            allow_single_file = True,
            mandatory = True,
        ),
        "go": attr.string(
            doc = "The version of Go in go.mod.",
            mandatory = True,
        ),
        "go_sdk": attr.label(
            doc = "The file ROOT of the Go SDK.",
            mandatory = True,
        ),
        "imports": attr.string_list(
            doc = "The packages to copy.",
            mandatory = True,
        ),
        "module": attr.string(
            doc = "The path of the module.",
            mandatory = True,
        ),
        "sums": attr.string_list(
            doc = "The lines of go.sum.",
            mandatory = True,
        ),
        "version": attr.string(
            doc = "The version of the module.",
            mandatory = True,
        ),
    },
)
