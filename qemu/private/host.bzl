"""The repository rule that finds QEMU on the machine."""

_PROGRAMS = ["qemu-img", "qemu-io", "qemu-system-x86_64"]

_MISSING = """
filegroup(
    name = "{program}",
    # There is no {program} on PATH.
    target_compatible_with = ["@platforms//:incompatible"],
    visibility = ["//visibility:public"],
)
"""

def _host_qemu_impl(rctx):
    build = []
    for program in _PROGRAMS:
        path = rctx.which(program)
        if path:
            rctx.watch(path)
            rctx.symlink(path, program)
            build.append('exports_files(["%s"])\n' % program)
        else:
            build.append(_MISSING.format(program = program))
    rctx.file("BUILD.bazel", "".join(build))

host_qemu = repository_rule(
    implementation = _host_qemu_impl,
    # What is on PATH: found again when that changes, and on each fetch.
    configure = True,
    environ = ["PATH"],
    local = True,
)
