"""The repository rule that finds QEMU on the host."""

load(":firmware.bzl", "find_uefi")

_PROGRAMS = ["qemu-img", "qemu-io", "qemu-system-aarch64", "qemu-system-x86_64"]

_FIRMWARE = {
    "uefi_code_aarch64": "firmware/aarch64/code.fd",
    "uefi_code_x86_64": "firmware/x86_64/code.fd",
    "uefi_vars_aarch64": "firmware/aarch64/vars.fd",
    "uefi_vars_x86_64": "firmware/x86_64/vars.fd",
}

def _attribute(program):
    return program.replace("-", "_")

# Attributes of qemu.local, with their documentation.
PATHS = {
    _attribute(program): "Absolute path of %s." % program
    for program in _PROGRAMS
} | {
    name: "Absolute path of a raw flash image with UEFI %s." % ("code" if "code" in name else "variables")
    for name in _FIRMWARE
}

_MISSING_PROGRAM = """
missing_qemu(
    name = "{program}",
    constraint = "@rules_qcow2//qemu:no_qemu_on_this_machine",
    reason = "{program} is not on PATH; install QEMU, or set the paths of its programs with qemu.local.",
)
"""

_TOOLCHAIN = """
qemu_toolchain(
    name = "toolchain",
{attributes})
"""

_MISSING_TOOLCHAIN = """
missing_qemu(
    name = "toolchain",
    constraint = "@rules_qcow2//qemu:no_qemu_on_this_machine",
    reason = "Neither qemu-img nor a qemu-system-* is on PATH; install QEMU, or set the paths of its programs with qemu.local.",
)
"""

_LOADS = """\
load("@rules_qcow2//qemu:missing.bzl", "missing_qemu")
load("@rules_qcow2//qemu:toolchain.bzl", "qemu_toolchain")

package(default_visibility = ["//visibility:public"])
"""

def _given(rctx, name):
    """Returns the path that the user has set, or None."""
    given = rctx.attr.paths.get(name)
    if not given:
        return None
    if not given.startswith("/") or not rctx.path(given).exists:
        fail("qemu.local: %s = \"%s\" does not exist; it must be the absolute path of a file" % (name, given))
    return rctx.path(given)

def _version(rctx, program):
    """Returns the version that a program prints, "" if it prints none."""
    result = rctx.execute([program, "--version"])
    for word in result.stdout.replace("\n", " ").split(" "):
        if word[:1].isdigit() and "." in word:
            return word
    return ""

def _host_qemu_impl(rctx):
    attributes = {}
    build = [_LOADS]
    found = {}
    for program in _PROGRAMS:
        path = _given(rctx, _attribute(program)) or rctx.which(program)
        if path:
            rctx.watch(path)
            rctx.symlink(path, program)
            found[program] = path
            if program != "qemu-io":  # a label only, for tests that write to disks
                attributes[_attribute(program)] = ":" + program
            build.append('exports_files(["%s"])\n' % program)
        else:
            build.append(_MISSING_PROGRAM.format(program = program))

    if found:
        attributes["version"] = _version(rctx, found.values()[0])
        firmware = find_uefi(rctx, found)
        for name, file in _FIRMWARE.items():
            path = _given(rctx, name) or firmware.get(name)
            if path:
                rctx.watch(path)
                rctx.symlink(path, file)
                attributes[name] = file
        build.append(_TOOLCHAIN.format(
            attributes = "\n".join(["    %s = %s," % (name, repr(value)) for name, value in attributes.items()]),
        ))
    else:
        build.append(_MISSING_TOOLCHAIN)
    rctx.file("BUILD.bazel", "".join(build))

host_qemu = repository_rule(
    implementation = _host_qemu_impl,
    attrs = {"paths": attr.string_dict()},
    # Evaluated again when PATH changes and on each fetch.
    configure = True,
    environ = ["PATH"],
    local = True,
)
