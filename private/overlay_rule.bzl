"""The rule behind qcow2_overlay: from attributes to the generator's command line."""

load(":chain.bzl", "link_backing_chain")
load(":generator.bzl", "run_generator")
load(":image_target.bzl", "cluster_size", "declare_image", "fail_attribute", "given_image", "image_providers", "virtual_size")
load(":providers.bzl", "Qcow2Info")
load(":toolchain.bzl", "QCOW2GEN_TOOLCHAIN_TYPE")

# Clusters that extended L2 entries can divide.
_SMALLEST_EXTENDED_L2_CLUSTER = 16 * 1024

def _qcow2_overlay_impl(ctx):
    backing = _backing(ctx)
    size = virtual_size(ctx, "the base's size")
    options = _options(ctx)

    image = declare_image(ctx)
    metadata = ctx.actions.declare_file(image.basename + ".json", sibling = image)
    chain = link_backing_chain(ctx, image, ctx.attr.backing).chain

    _create(ctx, image, metadata, chain[0], backing, size, options)
    return image_providers(ctx, image, metadata, chain)

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

    run_generator(
        ctx,
        args,
        inputs = inputs,
        outputs = [image, metadata],
        mnemonic = "Qcow2Overlay",
        progress_message = "Creating qcow2 overlay %{output}",
    )

def _backing(ctx):
    """Returns the format of the backing image, or "auto", and its Qcow2Info or None."""
    backing = given_image(ctx, "backing")
    info = backing.info
    format = ctx.attr.backing_format
    if info:
        if format not in ["auto", info.format]:
            fail_attribute(ctx, "backing_format", format, "contradicts backing = \"%s\", which is %s; omit it" % (ctx.attr.backing.label, info.format))
        return struct(format = info.format, info = info)
    if format not in ["auto", "raw", "file", "qcow2"] and not ctx.attr.virtual_size:
        fail_attribute(ctx, "backing_format", format, "requires size: the virtual size can be read from raw and qcow2 files only")
    return struct(format = format, info = None)

def _options(ctx):
    """Returns the options of the format as a string for qemu-img create -o."""
    version_3 = ctx.attr.compat == "1.1"
    clusters = cluster_size(ctx)
    extended_l2 = ctx.attr.extended_l2
    if extended_l2 == "auto":
        extended_l2 = _on_off(version_3 and (not clusters or clusters >= _SMALLEST_EXTENDED_L2_CLUSTER))
    if not clusters:
        clusters = 128 * 1024 if extended_l2 == "on" else 64 * 1024

    if extended_l2 == "on" and not version_3:
        fail_attribute(ctx, "extended_l2", True, "requires compat = \"1.1\", not \"%s\"" % ctx.attr.compat)
    if extended_l2 == "on" and clusters < _SMALLEST_EXTENDED_L2_CLUSTER:
        fail_attribute(ctx, "extended_l2", True, "requires cluster_size = \"16K\" or more, not \"%s\"" % ctx.attr.cluster_size)
    return "compat=%s,cluster_size=%d,extended_l2=%s" % (ctx.attr.compat, clusters, extended_l2)

def _on_off(value):
    return "on" if value else "off"

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
        "out": attr.string(),
        # Not "size": Bazel takes a string attribute with that name as the size
        # of a test, in every rule (RuleClass.checkForValidSizeAndTimeoutValues).
        "virtual_size": attr.string(),
    },
    provides = [Qcow2Info],
    toolchains = [QCOW2GEN_TOOLCHAIN_TYPE],
)
