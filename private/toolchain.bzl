"""Toolchain types: the generator of images, with and without compressors, and the programs that run QEMU for tests."""

QCOW2CONVERT_TOOLCHAIN_TYPE = Label("//tools/qcow2convert:toolchain_type")
QCOW2GEN_TOOLCHAIN_TYPE = Label("//tools/qcow2gen:toolchain_type")
VMBOOT_TOOLCHAIN_TYPE = Label("//tools/vmboot:toolchain_type")

_ExecutionInfo = provider(
    doc = "How Bazel runs the generator.",
    fields = {"requirements": "execution_requirements of its actions: a dict of strings."},
)

def _generator_execution_impl(ctx):
    return [_ExecutionInfo(requirements = ctx.attr.requirements)]

generator_execution = rule(
    implementation = _generator_execution_impl,
    doc = "Holds requirements that depend on a flag of Bazel: attributes of a toolchain cannot default to a select().",
    attrs = {"requirements": attr.string_dict(mandatory = True)},
)

def _qcow2gen_toolchain_impl(ctx):
    info = ctx.attr.qcow2gen[DefaultInfo]
    program = info.files_to_run
    return [platform_common.ToolchainInfo(
        # A sandbox lays out a program's runfiles tree. The program needs none
        # if it has no runfiles but itself.
        executable = program.executable if _is_alone(info) else program,
        execution_requirements = ctx.attr._execution[_ExecutionInfo].requirements,
        qcow2gen = program,
    )]

def _is_alone(info):
    """Returns whether a program's only runfile is the program."""
    runfiles = info.default_runfiles
    if not runfiles:
        return True
    if runfiles.symlinks or runfiles.root_symlinks:
        return False

    # Evaluated once for each toolchain, not for each overlay.
    return all([file == info.files_to_run.executable for file in runfiles.files.to_list()])

qcow2gen_toolchain = rule(
    implementation = _qcow2gen_toolchain_impl,
    doc = """\
Declares a generator that rules use instead of the one that is compiled from
source, for example a prebuilt one in a closed network.

```starlark
qcow2gen_toolchain(
    name = "prebuilt",
    qcow2gen = "@qcow2gen_linux_amd64//:qcow2gen",
)

toolchain(
    name = "prebuilt_toolchain",
    exec_compatible_with = ["@platforms//os:linux", "@platforms//cpu:x86_64"],
    toolchain = ":prebuilt",
    toolchain_type = "@rules_qcow2//tools/qcow2gen:toolchain_type",
)
```

`register_toolchains("//:prebuilt_toolchain")` in the root module gives it
precedence over all others. All rules use this type; `qcow2_image` also uses
`@rules_qcow2//tools/qcow2convert:toolchain_type`, for a generator with
compressors: `@rules_qcow2//tools/qcow2gen:qcow2convert`, or `qcow2convert` of a release.
""",
    attrs = {
        "qcow2gen": attr.label(
            doc = """\
The generator, for the platform that actions run on: this repository's, or a
program that runs it with the same arguments and standard input. Bazel passes it a
file of arguments, or keeps it running as a persistent worker.""",
            # A downloaded program is a source file.
            allow_files = True,
            cfg = "exec",
            executable = True,
            mandatory = True,
        ),
        "_execution": attr.label(
            default = ":generator_execution",
            providers = [_ExecutionInfo],
        ),
    },
)

def _vmboot_toolchain_impl(ctx):
    return [platform_common.ToolchainInfo(
        qcow2check = ctx.attr.qcow2check[DefaultInfo],
        vm = ctx.attr.vm[DefaultInfo],
        vmboot = ctx.attr.vmboot[DefaultInfo],
    )]

def _test_program(doc):
    return attr.label(
        doc = doc,
        # A downloaded program is a source file.
        allow_files = True,
        cfg = "exec",
        executable = True,
        mandatory = True,
    )

vmboot_toolchain = rule(
    implementation = _vmboot_toolchain_impl,
    doc = """\
Declares the programs that run QEMU and qemu-img, on the platform that tests run on,
instead of those that are compiled from source: for example prebuilt ones in a closed
network.

```starlark
vmboot_toolchain(
    name = "prebuilt",
    qcow2check = "@test_programs_linux_amd64//:qcow2check",
    vm = "@test_programs_linux_amd64//:vm",
    vmboot = "@test_programs_linux_amd64//:vmboot",
)

toolchain(
    name = "prebuilt_toolchain",
    exec_compatible_with = ["@platforms//os:linux", "@platforms//cpu:x86_64"],
    toolchain = ":prebuilt",
    toolchain_type = "@rules_qcow2//tools/vmboot:toolchain_type",
)
```

`register_toolchains("//:prebuilt_toolchain")` in the root module gives it precedence over
all others. Bazel builds the programs that a target uses. All must be of the version of
the ruleset.
""",
    attrs = {
        "qcow2check": _test_program("runs `qemu-img check`, for `qcow2_check_test`."),
        "vm": _test_program("`vm`, which uses a machine from any language: `@rules_qcow2//:vm`."),
        "vmboot": _test_program("the runner of machines, for all other tests, for `bazel run` and for build actions that boot a machine."),
    },
)

def _resolved(ctx, program):
    """Returns the DefaultInfo of a program of a toolchain under the target's name."""
    link = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = link, target_file = program.executable, is_executable = True)
    return [DefaultInfo(
        executable = link,
        files = depset([link]),
        runfiles = ctx.runfiles([link, program.executable]),
    )]

def _resolved_vm_impl(ctx):
    return _resolved(ctx, ctx.toolchains[VMBOOT_TOOLCHAIN_TYPE].vm.files_to_run)

resolved_vm = rule(
    implementation = _resolved_vm_impl,
    doc = "The toolchain's program vm, for tests in any language.",
    executable = True,
    toolchains = [VMBOOT_TOOLCHAIN_TYPE],
)

def _resolved_qcow2gen_impl(ctx):
    return _resolved(ctx, ctx.toolchains[QCOW2GEN_TOOLCHAIN_TYPE].qcow2gen)

resolved_qcow2gen = rule(
    implementation = _resolved_qcow2gen_impl,
    doc = """\
The toolchain's generator as a program, for tests that create disks. It is the
binary that actions use, so it is not compiled again.""",
    executable = True,
    toolchains = [QCOW2GEN_TOOLCHAIN_TYPE],
)
