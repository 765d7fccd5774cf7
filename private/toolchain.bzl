"""The toolchain type that stands in front of the generator."""

QCOW2GEN_TOOLCHAIN_TYPE = Label("//tools/qcow2gen:toolchain_type")

def _qcow2gen_toolchain_impl(ctx):
    return [platform_common.ToolchainInfo(
        qcow2gen = ctx.attr.qcow2gen[DefaultInfo].files_to_run,
    )]

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
            doc = "The generator, for the platform that actions run on.",
            # A program that was downloaded is a file, and not the output of a rule.
            allow_files = True,
            cfg = "exec",
            executable = True,
            mandatory = True,
        ),
    },
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
