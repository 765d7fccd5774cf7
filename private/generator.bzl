"""Actions of the generator, qcow2gen."""

load(":toolchain.bzl", "QCOW2CONVERT_TOOLCHAIN_TYPE", "QCOW2GEN_TOOLCHAIN_TYPE")

# Cores of an action that converts. More of them make one image faster, but keep
# Bazel from running other actions.
_CORES = 2

def check_image(ctx, image):
    """Declares the action that checks an image without its backing file, and returns its report."""
    report = ctx.actions.declare_file(image.basename + ".check.txt", sibling = image)
    run_generator(
        ctx,
        ["check", "--report-output", report, image],
        inputs = [image],
        outputs = [report],
        mnemonic = "Qcow2Check",
        progress_message = "Checking qcow2 image %{input}",
    )
    return report

def run_generator(ctx, arguments, **kwargs):
    """Declares an action that runs the generator, as a persistent worker if Bazel supports it.

    A worker does not have a sandbox by default, so the generator must only open
    files that its command line names.

    Args:
      ctx: the context of a rule with the generator's toolchain.
      arguments: a list of strings and files.
      **kwargs: further arguments of ctx.actions.run.
    """
    toolchain = ctx.toolchains[QCOW2GEN_TOOLCHAIN_TYPE]
    args = ctx.actions.args()
    args.add_all(arguments)

    # Workers read their arguments from a file.
    args.set_param_file_format("multiline")
    args.use_param_file("@%s", use_always = True)
    ctx.actions.run(
        executable = toolchain.executable,
        arguments = [args],
        execution_requirements = toolchain.execution_requirements,
        toolchain = QCOW2GEN_TOOLCHAIN_TYPE,
        **kwargs
    )

def run_converter(ctx, arguments, **kwargs):
    """Declares an action that runs the generator with compressors, to convert an image.

    It is not a persistent worker: it takes seconds, so a process costs nothing.

    Args:
      ctx: the context of a rule with the converter's toolchain.
      arguments: a list of strings and files, without the number of cores.
      **kwargs: further arguments of ctx.actions.run.
    """
    args = ctx.actions.args()
    args.add("convert")
    args.add("-m", str(_CORES))
    args.add_all(arguments)
    ctx.actions.run(
        executable = ctx.toolchains[QCOW2CONVERT_TOOLCHAIN_TYPE].executable,
        arguments = [args],
        execution_requirements = {"supports-path-mapping": "1"},
        resource_set = _converter_resources,
        toolchain = QCOW2CONVERT_TOOLCHAIN_TYPE,
        **kwargs
    )

# With memory in MiB.
def _converter_resources(_os, _inputs):
    return {"cpu": _CORES, "memory": 100}
