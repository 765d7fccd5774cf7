"""Runners: programs that find what to do in a file beside them."""

load("//qemu:toolchain.bzl", "QEMU_TOOLCHAIN_TYPE")

# The group of the platform that tests run on: where QEMU and the runners are
# needed.
_EXEC_GROUP = "test"

def exec_groups(runner):
    """Returns the exec_groups of a rule.

    Args:
      runner: the toolchain type of its runner.
    """
    return {_EXEC_GROUP: exec_group(toolchains = [QEMU_TOOLCHAIN_TYPE, runner])}

def qemu_of(ctx):
    """Returns the QemuInfo for where tests run."""
    return ctx.exec_groups[_EXEC_GROUP].toolchains[QEMU_TOOLCHAIN_TYPE].qemu

def rlocationpath(ctx, file):
    """Returns the path by which runfiles libraries find a file."""
    if file.short_path.startswith("../"):
        return file.short_path[len("../"):]
    return ctx.workspace_name + "/" + file.short_path

def target_name(ctx):
    """Returns the label as a user of it would write it on the command line."""
    label = str(ctx.label)
    return label.removeprefix("@@") if label.startswith("@@//") else label

def run(ctx, runner, config, suffix, files, runfiles):
    """Makes the target's executable: the runner, and what to do beside it.

    Args:
      ctx: the context of a rule with exec_groups(runner).
      runner: the toolchain type of the runner.
      config: what the runner is to read, as JSON.
      suffix: what the runner appends to its own name to find that.
      files: what it needs.
      runfiles: a list of further runfiles.

    Returns:
      The DefaultInfo.
    """
    program = ctx.exec_groups[_EXEC_GROUP].toolchains[runner].runner
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(
        output = executable,
        target_file = program.files_to_run.executable,
        is_executable = True,
    )
    config_file = ctx.actions.declare_file(ctx.label.name + suffix)
    ctx.actions.write(config_file, json.encode_indent(config, indent = "  ") + "\n")
    return DefaultInfo(
        executable = executable,
        files = depset([executable]),
        runfiles = ctx.runfiles(files + [config_file]).merge_all(
            runfiles + [program.default_runfiles],
        ),
    )
