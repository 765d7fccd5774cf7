"""The rule that declares a QEMU."""

load(":providers.bzl", "QemuInfo")

QEMU_TOOLCHAIN_TYPE = Label("//qemu:toolchain_type")

ARCHITECTURES = ["aarch64", "x86_64"]

def _program(target):
    """Returns the struct that QemuInfo has for a program, None for no target."""
    if not target:
        return None
    files_to_run = target[DefaultInfo].files_to_run
    if not files_to_run.executable:
        fail("%s is not executable" % target.label)
    return struct(
        executable = files_to_run.executable,
        files_to_run = files_to_run,
        runfiles = target[DefaultInfo].default_runfiles,
    )

def _uefi(ctx, arch):
    code = getattr(ctx.file, "uefi_code_" + arch)
    variables = getattr(ctx.file, "uefi_vars_" + arch)
    if not code and not variables:
        return None
    if not code or not variables:
        fail("%s: uefi_code_%s and uefi_vars_%s must be set together; only one is set" % (ctx.label, arch, arch))
    return struct(code = code, vars = variables)

def _qemu_toolchain_impl(ctx):
    systems = {arch: _program(getattr(ctx.attr, "qemu_system_" + arch)) for arch in ARCHITECTURES}
    uefi = {arch: _uefi(ctx, arch) for arch in ARCHITECTURES}
    info = QemuInfo(
        data_dirs = ctx.files.data_dirs,
        data_runfiles = ctx.runfiles(ctx.files.data_dirs + ctx.files.data_files),
        qemu_img = _program(ctx.attr.qemu_img),
        systems = {arch: program for arch, program in systems.items() if program},
        uefi = {arch: firmware for arch, firmware in uefi.items() if firmware},
        version = ctx.attr.version,
    )
    return [info, platform_common.ToolchainInfo(qemu = info)]

_PROGRAMS = ["qemu_img"] + ["qemu_system_" + arch for arch in ARCHITECTURES]

_DOCS = {
    "qemu_img": "qemu-img. Without it, `qcow2_check_test` and `qcow2_layer` fail at analysis.",
    "uefi_code": "UEFI firmware of this architecture: a raw image for the first flash device, such as edk2's `OVMF_CODE.fd`. Without it, `firmware = \"uefi\"` fails at analysis.",
    "uefi_vars": "Initial UEFI variables of a machine: a raw image for the second flash device, such as edk2's `OVMF_VARS.fd`. Each run gets a copy.",
}

qemu_toolchain = rule(
    implementation = _qemu_toolchain_impl,
    doc = """\
Declares a QEMU that `qemu_boot_test`, `qemu_vm` and `qcow2_check_test` use
instead of the one that is installed on the host.

```starlark
qemu_toolchain(
    name = "qemu",
    qemu_img = "@my_qemu//:qemu-img",
    qemu_system_x86_64 = "@my_qemu//:qemu-system-x86_64",
)

toolchain(
    name = "qemu_toolchain",
    exec_compatible_with = ["@platforms//os:linux", "@platforms//cpu:x86_64"],
    toolchain = ":qemu",
    toolchain_type = "@rules_qcow2//qemu:toolchain_type",
)
```

`register_toolchains("//:qemu_toolchain")` in the root module gives it
precedence over the host's. The execution platform is the one that tests run on.
""",
    attrs = {
        name: attr.label(
            doc = _DOCS.get(name, name.replace("qemu_system_", "qemu-system-") + ". Without it, machines of this architecture fail at analysis."),
            # The toolchain is configured for the platform that tests run on.
            cfg = "target",
            executable = True,
            allow_files = True,
        )
        for name in _PROGRAMS
    } | {
        "%s_%s" % (part, arch): attr.label(
            doc = _DOCS[part],
            allow_single_file = True,
        )
        for part in ["uefi_code", "uefi_vars"]
        for arch in ARCHITECTURES
    } | {
        "data_dirs": attr.label_list(
            doc = """\
Folders where QEMU looks for SeaBIOS and option ROMs (`-L`). Each is a directory,
or a file such as `bios-256k.bin`, which stands for its folder. By default QEMU
looks in its own folders only.""",
            allow_files = True,
        ),
        "data_files": attr.label_list(
            doc = "Other files in the folders of `data_dirs`. They become runfiles of each test.",
            allow_files = True,
        ),
        "version": attr.string(
            doc = "The version, as in `11.1.2`, for readers of `QemuInfo`. Empty if not known.",
        ),
    },
    provides = [QemuInfo],
)
