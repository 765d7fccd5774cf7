"""Runners: programs that read what to do from a JSON file next to them."""

load("//qemu:toolchain.bzl", "QEMU_TOOLCHAIN_TYPE")
load(":toolchain.bzl", "VMBOOT_TOOLCHAIN_TYPE")

# The exec group of the platform that tests run on, where QEMU and the runner
# are needed.
EXEC_GROUP = "test"

EXEC_GROUPS = {EXEC_GROUP: exec_group(toolchains = [QEMU_TOOLCHAIN_TYPE, VMBOOT_TOOLCHAIN_TYPE])}

def qemu_of(ctx):
    """Returns the QemuInfo of the platform that tests run on."""
    return ctx.exec_groups[EXEC_GROUP].toolchains[QEMU_TOOLCHAIN_TYPE].qemu

def rlocationpath(ctx, file):
    """Returns the path by which runfiles libraries find a file."""
    if file.short_path.startswith("../"):
        return file.short_path[len("../"):]
    return ctx.workspace_name + "/" + file.short_path

def target_name(ctx):
    """Returns the label as a user writes it on the command line."""
    label = str(ctx.label)
    return label.removeprefix("@@") if label.startswith("@@//") else label

def run(ctx, config, suffix, runfiles):
    """Declares the target's executable: the runner, with its JSON file.

    Args:
      ctx: the context of a rule with EXEC_GROUPS.
      config: the content of the JSON file, a dict.
      suffix: what the runner appends to its own name to find the file.
      runfiles: a list of runfiles that the runner needs.

    Returns:
      The DefaultInfo.
    """
    runner = ctx.exec_groups[EXEC_GROUP].toolchains[VMBOOT_TOOLCHAIN_TYPE].runner
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(
        output = executable,
        target_file = runner.files_to_run.executable,
        is_executable = True,
    )
    config_file = ctx.actions.declare_file(ctx.label.name + suffix)
    ctx.actions.write(config_file, json.encode_indent(config, indent = "  ") + "\n")
    return DefaultInfo(
        executable = executable,
        files = depset([executable]),
        runfiles = ctx.runfiles([config_file]).merge_all(runfiles + [runner.default_runfiles]),
    )
