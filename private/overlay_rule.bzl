"""The rule behind qcow2_overlay: from attributes to the generator's command line."""

load(":chain.bzl", "link_backing_chain")
load(":providers.bzl", "Qcow2Info")
load(":size.bzl", "parse_size")
load(":toolchain.bzl", "QCOW2GEN_TOOLCHAIN_TYPE")

# Clusters that extended L2 entries can divide.
_SMALLEST_EXTENDED_L2_CLUSTER = 16 * 1024

def _qcow2_overlay_impl(ctx):
    backing = _backing(ctx)
    size = _size(ctx)
    options = _options(ctx)

    image = ctx.outputs.out or ctx.actions.declare_file(ctx.label.name + ".qcow2")
    metadata = ctx.actions.declare_file(image.basename + ".json", sibling = image)
    chain = link_backing_chain(ctx, image, ctx.attr.backing)

    _create(ctx, image, metadata, chain[0], backing, size, options)
    report = _check(ctx, image)

    links = [layer.file for layer in chain]
    return [
        # $(rlocationpath) needs exactly one file. The links are runfiles.
        DefaultInfo(
            files = depset([image]),
            runfiles = ctx.runfiles([image] + links),
        ),
        # Every build of the target builds these, off the critical path. The
        # image needs the links to open from bazel-bin.
        OutputGroupInfo(_validation = depset([report] + links)),
        Qcow2Info(
            chain = chain,
            format = "qcow2",
            image = image,
            metadata = metadata,
        ),
    ]

def _create(ctx, image, metadata, backing_link, backing, size, options):
    """Declares the action that writes the image and its metadata."""
    args = ["create", "-q", "-f", "qcow2", "-o", options, "-b", backing_link.path]
    if backing.info:
        # The metadata file has the size and the format.
        args += ["--backing-info", backing.info.metadata]
        inputs = [backing.info.metadata]
    elif size and backing.format != "auto":
        # Size and format are known: the base is not an input.
        args.append("-u")
        inputs = []
    else:
        # The link, not its target: the stored name leads to the link.
        args.append("--standalone-backing")
        inputs = [backing_link.file]
    args += ["--detect-backing-format"] if backing.format == "auto" else ["-F", backing.format]
    args += ["--no-shrink", "--info-output", metadata, image]
    if size:
        args.append(str(size))

    _run(
        ctx,
        args,
        inputs = inputs,
        outputs = [image, metadata],
        mnemonic = "Qcow2Overlay",
        progress_message = "Creating qcow2 overlay %{output}",
    )

def _check(ctx, image):
    """Declares the action that checks the image without its backing file, and returns its report."""
    report = ctx.actions.declare_file(image.basename + ".check.txt", sibling = image)
    _run(
        ctx,
        ["check", "--report-output", report, image],
        inputs = [image],
        outputs = [report],
        mnemonic = "Qcow2Check",
        progress_message = "Checking qcow2 overlay %{input}",
    )
    return report

def _run(ctx, arguments, **kwargs):
    """Declares an action that runs the generator, as a persistent worker if Bazel supports it.

    A worker does not have a sandbox by default, so the generator must only open
    files that its command line names.
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

def _backing(ctx):
    """Returns the file to overlay, its format or "auto", and its Qcow2Info or None."""
    file = ctx.file.backing
    format = ctx.attr.backing_format
    info = ctx.attr.backing[Qcow2Info] if Qcow2Info in ctx.attr.backing else None
    if file.is_directory:
        _fail(ctx, "backing", ctx.attr.backing.label, "is a directory; it must be a target with one file")
    if info:
        if format not in ["auto", info.format]:
            _fail(ctx, "backing_format", format, "contradicts backing = \"%s\", which is %s; omit it" % (ctx.attr.backing.label, info.format))
        return struct(file = info.image, format = info.format, info = info)
    if format not in ["auto", "raw", "qcow2"] and not ctx.attr.virtual_size:
        _fail(ctx, "backing_format", format, "requires size: the virtual size can be read from raw and qcow2 files only")
    return struct(file = file, format = format, info = None)

def _size(ctx):
    """Returns the virtual size in bytes, None for that of the backing file."""
    given = ctx.attr.virtual_size
    if not given:
        return None
    size, wrong = parse_size(given)
    if wrong:
        _fail(ctx, "size", given, "is not a size: " + wrong)
    if size == 0:
        _fail(ctx, "size", given, "must be at least 1 byte; omit it to use the base's size")
    return size

def _options(ctx):
    """Returns the options of the format as a string for qemu-img create -o."""
    version_3 = ctx.attr.compat == "1.1"
    cluster_size = _cluster_size(ctx)
    extended_l2 = ctx.attr.extended_l2
    if extended_l2 == "auto":
        extended_l2 = _on_off(version_3 and (not cluster_size or cluster_size >= _SMALLEST_EXTENDED_L2_CLUSTER))
    if not cluster_size:
        cluster_size = 128 * 1024 if extended_l2 == "on" else 64 * 1024

    if extended_l2 == "on" and not version_3:
        _fail(ctx, "extended_l2", True, "requires compat = \"1.1\", not \"%s\"" % ctx.attr.compat)
    if extended_l2 == "on" and cluster_size < _SMALLEST_EXTENDED_L2_CLUSTER:
        _fail(ctx, "extended_l2", True, "requires cluster_size = \"16K\" or more, not \"%s\"" % ctx.attr.cluster_size)
    return "compat=%s,cluster_size=%d,extended_l2=%s" % (ctx.attr.compat, cluster_size, extended_l2)

def _cluster_size(ctx):
    """Returns the cluster size in bytes, None where it is not given."""
    given = ctx.attr.cluster_size
    if not given:
        return None
    size, wrong = parse_size(given)
    if wrong:
        _fail(ctx, "cluster_size", given, "is not a size: " + wrong)
    if size not in [512 << i for i in range(13)]:
        _fail(ctx, "cluster_size", given, "is %d bytes; it must be a power of two from 512 to 2M" % size)
    return size

def _on_off(value):
    return "on" if value else "off"

def _fail(ctx, attribute, given, wrong):
    fail("%s: %s = %s %s" % (ctx.label, attribute, repr(given), wrong))

# `bazel query "kind(qcow2_overlay, ...)"` finds it by this name.
qcow2_overlay = rule(
    implementation = _qcow2_overlay_impl,
    doc = "The rule behind the macro qcow2_overlay, which documents the attributes.",
    attrs = {
        "backing": attr.label(
            allow_single_file = True,
            mandatory = True,
        ),
        "backing_format": attr.string(default = "auto"),
        "cluster_size": attr.string(),
        "compat": attr.string(
            default = "1.1",
            values = ["0.10", "1.1"],
        ),
        "extended_l2": attr.string(
            default = "auto",
            values = ["auto", "on", "off"],
        ),
        "out": attr.output(),
        # Not "size": Bazel takes a string attribute with that name as the size
        # of a test, in every rule (RuleClass.checkForValidSizeAndTimeoutValues).
        "virtual_size": attr.string(),
    },
    provides = [Qcow2Info],
    toolchains = [QCOW2GEN_TOOLCHAIN_TYPE],
)
