"""The module extension for Go modules that only some programs need.

Programs that every consumer compiles do not need any. gazelle's go_deps would build
gazelle in the builds of consumers, and would let the consumer's other Go modules
choose the version, on which the bytes of compressed images depend.
"""

load("@go_host_compatible_sdk_label//:defs.bzl", "HOST_COMPATIBLE_SDK")
load(":vendor.bzl", "go_vendor")

def _go_modules_impl(module_ctx):
    go_mod = module_ctx.read(Label("//:go.mod"))
    go_sum = module_ctx.read(Label("//:go.sum"))
    go_vendor(
        name = "klauspost_compress",
        build_file = ":klauspost_compress.BUILD.bazel",
        go_sdk = HOST_COMPATIBLE_SDK,
        imports = [
            "github.com/klauspost/compress/flate",
            "github.com/klauspost/compress/zstd",
        ],
        **_pins("github.com/klauspost/compress", go_mod, go_sum)
    )
    return module_ctx.extension_metadata(reproducible = True)

def _pins(module, go_mod, go_sum):
    """Returns the lines of go.mod and go.sum that a module without dependencies needs."""
    return {
        "go": _line(go_mod, "go "),
        "module": module,
        "sums": [line for line in go_sum.splitlines() if line.startswith(module + " ")],
        "version": _line(go_mod, "require %s " % module),
    }

def _line(go_mod, prefix):
    """Returns the rest of the line that has the prefix."""
    lines = [line for line in go_mod.splitlines() if line.startswith(prefix)]
    if len(lines) != 1:
        fail("go.mod has %d lines that begin with %s, want 1" % (len(lines), repr(prefix)))
    return lines[0].removeprefix(prefix)

go_modules = module_extension(
    implementation = _go_modules_impl,
    doc = "Declares one repository for each Go module. It is fetched when a build compiles a program that needs it.",
)
