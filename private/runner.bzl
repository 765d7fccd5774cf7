"""Runners: programs that read their task from a JSON file next to them."""

load("//qemu:toolchain.bzl", "QEMU_TOOLCHAIN_TYPE")
load(":toolchain.bzl", "VMBOOT_TOOLCHAIN_TYPE")

# The exec group of the platform that tests run on, where QEMU and the programs that
# run it are needed.
EXEC_GROUP = "test"

EXEC_GROUPS = {EXEC_GROUP: exec_group(toolchains = [QEMU_TOOLCHAIN_TYPE, VMBOOT_TOOLCHAIN_TYPE])}

def qemu_of(ctx):
    """Returns the QemuInfo of the platform that tests run on."""
    return ctx.exec_groups[EXEC_GROUP].toolchains[QEMU_TOOLCHAIN_TYPE].qemu

def programs_of(ctx):
    """Returns the programs that run QEMU: the ToolchainInfo of vmboot_toolchain."""
    return ctx.exec_groups[EXEC_GROUP].toolchains[VMBOOT_TOOLCHAIN_TYPE]

def rlocationpath(ctx, file):
    """Returns the path by which runfiles libraries find a file."""
    return _rlocation(ctx.workspace_name, file.short_path)

def _rlocation(workspace, short_path):
    return short_path[len("../"):] if short_path.startswith("../") else workspace + "/" + short_path

def target_name(ctx):
    """Returns the target's label as a user writes it on the command line."""
    return display(ctx.label)

def display(label):
    """Returns a label as a user writes it on the command line."""
    label = str(label)
    return label.removeprefix("@@") if label.startswith("@@//") else label

def run(ctx, program, config, suffix, runfiles):
    """Declares the target's executable: a program, with its JSON file.

    Args:
      ctx: the context of a rule with EXEC_GROUPS.
      program: the DefaultInfo of the program, from programs_of.
      config: the content of the JSON file, a dict.
      suffix: the suffix of the JSON file, which the program appends to its own name.
      runfiles: a list of runfiles that the program needs.

    Returns:
      The DefaultInfo.
    """
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(
        output = executable,
        target_file = program.files_to_run.executable,
        is_executable = True,
    )
    config_file = ctx.actions.declare_file(ctx.label.name + suffix)
    own = ctx.runfiles([config_file, executable]).merge_all(runfiles + [program.default_runfiles])
    if config.get("interactive"):
        # With --run_under, the runfiles of the test are there, too.
        manifest = ctx.actions.declare_file(ctx.label.name + ".runfiles.txt")
        list_runfiles(ctx, manifest, own)
        own = own.merge(ctx.runfiles([manifest]))
        config = config | {"runfiles": rlocationpath(ctx, manifest)}
    ctx.actions.write(config_file, json.encode_indent(config, indent = "  ") + "\n")
    return DefaultInfo(
        executable = executable,
        files = depset([executable]),
        runfiles = own,
    )

ENVIRONMENT_ATTRS = {
    "env": attr.string_dict(
        doc = "environment variables of the test. Values may have `$(location)` and the like of labels in `data`.",
    ),
    "env_inherit": attr.string_list(
        doc = "names of variables that the test gets from the environment in which Bazel was started, as with `--test_env=NAME`.",
    ),
}

def test_environment(ctx, given = None):
    """Returns the provider of a test's environment.

    Args:
      ctx: the context of a test rule with ENVIRONMENT_ATTRS.
      given: the RunEnvironmentInfo of another test, whose variables the test has, too.

    Returns:
      A RunEnvironmentInfo.
    """
    data = getattr(ctx.attr, "data", [])
    environment = {name: ctx.expand_location(value, data) for name, value in ctx.attr.env.items()}
    return RunEnvironmentInfo(
        environment = (given.environment if given else {}) | environment,
        inherited_environment = (given.inherited_environment if given else []) + ctx.attr.env_inherit,
    )

def test_resources(ctx, machine):
    """Returns the provider with the processors and the memory of a test with a machine.

    Args:
      ctx: the context of a test rule. Its own tags take precedence.
      machine: the machine's config: a dict.

    Returns:
      A testing.ExecutionInfo.
    """
    resources = {
        "cpu:": "cpu:%d" % machine["cpus"],
        "resources:memory:": "resources:memory:%s" % machine["memory"].removesuffix("M"),
    }
    return testing.ExecutionInfo({
        need: ""
        for prefix, need in resources.items()
        if not [tag for tag in ctx.attr.tags if tag.startswith(prefix)]
    })

def list_runfiles(ctx, output, runfiles):
    """Declares an action that writes the rlocation path of each runfile in a line.

    Args:
      ctx: the context of the rule.
      output: the file to write.
      runfiles: the runfiles.
    """
    workspace = ctx.workspace_name
    lines = ctx.actions.args()
    lines.set_param_file_format("multiline")

    def add(files, path, **kwargs):
        lines.add_all(files, map_each = lambda file: _rlocation(workspace, path(file)), allow_closure = True, **kwargs)

    add(runfiles.files, lambda file: file.short_path, expand_directories = False)
    add(runfiles.symlinks, lambda link: link.path)
    lines.add_all(runfiles.root_symlinks, map_each = lambda link: link.path, allow_closure = True)

    # Python's __init__.py.
    add(runfiles.empty_filenames, lambda name: name)
    ctx.actions.write(output, lines)

def list_paths(ctx, output, runfiles):
    """Declares an action that writes where an action finds the files of runfiles.

    Args:
      ctx: the context of the rule.
      output: the file to write. Each line has the rlocation path of a file, a tab, and
        its path from the working directory of an action.
      runfiles: the runfiles.
    """
    workspace = ctx.workspace_name
    lines = ctx.actions.args()
    lines.set_param_file_format("multiline")

    lines.add_all(
        runfiles.files,
        map_each = lambda file: _rlocation(workspace, file.short_path) + "\t" + file.path,
        allow_closure = True,
        expand_directories = False,
    )
    ctx.actions.write(output, lines)
