"""The toolchain types that stand in front of the programs: the generator, and the runners of tests."""

QCOW2CHECK_TOOLCHAIN_TYPE = Label("//tools/qcow2check:toolchain_type")
QCOW2GEN_TOOLCHAIN_TYPE = Label("//tools/qcow2gen:toolchain_type")
VMBOOT_TOOLCHAIN_TYPE = Label("//tools/vmboot:toolchain_type")

_ExecutionInfo = provider(
    doc = "How Bazel may run the generator.",
    fields = {"requirements": "execution_requirements of its actions: a dict of strings."},
)

def _generator_execution_impl(ctx):
    return [_ExecutionInfo(requirements = ctx.attr.requirements)]

generator_execution = rule(
    implementation = _generator_execution_impl,
    doc = "Holds what depends on a flag of Bazel: a toolchain's own attributes cannot default to a select().",
    attrs = {"requirements": attr.string_dict(mandatory = True)},
)

def _qcow2gen_toolchain_impl(ctx):
    info = ctx.attr.qcow2gen[DefaultInfo]
    program = info.files_to_run
    return [platform_common.ToolchainInfo(
        # Each sandbox lays out what the program brings: for the runfiles of
        # one that is alone in them, a dozen folders that nobody reads.
        executable = program.executable if _is_alone(info) else program,
        execution_requirements = ctx.attr._execution[_ExecutionInfo].requirements,
        qcow2gen = program,
    )]

def _is_alone(info):
    """Returns whether a program has no runfiles but itself."""
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
Declares a generator for `qcow2_overlay` to use in place of the one that is
compiled from source, for example a prebuilt one in a closed network.

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

`register_toolchains("//:prebuilt_toolchain")` in the root module puts it
before all others.
""",
    attrs = {
        "qcow2gen": attr.label(
            doc = """\
The generator, for the platform that actions run on: this repository's, or a
program that runs it with the arguments and the standard input that it has.
Bazel gives it a file of arguments, or keeps it as a persistent worker.""",
            # A program that was downloaded is a file, and not the output of a rule.
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

def _runner_attr():
    return attr.label(
        allow_files = True,
        cfg = "exec",
        executable = True,
        mandatory = True,
    )

def _qcow2check_toolchain_impl(ctx):
    return [platform_common.ToolchainInfo(runner = ctx.attr.qcow2check[DefaultInfo])]

qcow2check_toolchain = rule(
    implementation = _qcow2check_toolchain_impl,
    doc = "Declares what runs qemu-img for qcow2_check_test, on the platform that tests run on.",
    attrs = {"qcow2check": _runner_attr()},
)

def _vmboot_toolchain_impl(ctx):
    return [platform_common.ToolchainInfo(runner = ctx.attr.vmboot[DefaultInfo])]

vmboot_toolchain = rule(
    implementation = _vmboot_toolchain_impl,
    doc = "Declares what runs QEMU for qemu_boot_test and qemu_vm, on the platform that tests run on.",
    attrs = {"vmboot": _runner_attr()},
)

def _resolved_qcow2gen_impl(ctx):
    tool = ctx.toolchains[QCOW2GEN_TOOLCHAIN_TYPE].qcow2gen
    link = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = link, target_file = tool.executable, is_executable = True)
    return [DefaultInfo(
        executable = link,
        files = depset([link]),
        runfiles = ctx.runfiles([link, tool.executable]),
    )]

resolved_qcow2gen = rule(
    implementation = _resolved_qcow2gen_impl,
    doc = """\
The generator of the toolchain as a program to run, for tests that make a disk
of their own: it is the one that actions use, and not compiled once more.""",
    executable = True,
    toolchains = [QCOW2GEN_TOOLCHAIN_TYPE],
)
