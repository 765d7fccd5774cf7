"""The rule behind qcow2_image: from attributes to the converter's command line."""

load(":chain.bzl", "link_backing_chain")
load(":generator.bzl", "run_converter")
load(":image_target.bzl", "cluster_size", "declare_image", "given_image", "image_providers", "virtual_size")
load(":providers.bzl", "Qcow2Info")
load(":toolchain.bzl", "QCOW2CONVERT_TOOLCHAIN_TYPE", "QCOW2GEN_TOOLCHAIN_TYPE")

def _qcow2_image_impl(ctx):
    src = _src(ctx)
    backing = given_image(ctx, "backing") if ctx.attr.backing else None
    options = _options(ctx)

    image = declare_image(ctx)
    metadata = ctx.actions.declare_file(image.basename + ".json", sibling = image)
    chain = link_backing_chain(ctx, image, ctx.attr.backing).chain if backing else []

    run_converter(
        ctx,
        src.arguments + ["-O", "qcow2"] + options + _backing_arguments(backing, chain) +
        ["--info-output", metadata, src.file, image],
        inputs = src.files + [layer.file for layer in chain],
        outputs = [image, metadata],
        mnemonic = "Qcow2Image",
        progress_message = "Converting to qcow2 image %{output}",
    )
    return image_providers(ctx, image, metadata, chain)

def _src(ctx):
    """Returns the source, all files that it consists of, and its arguments."""
    src = given_image(ctx, "src")
    if not src.info:
        return struct(arguments = ["--standalone-source"], file = src.file, files = [src.file])
    return struct(
        arguments = ["-f", src.info.format],
        file = src.file,
        files = [src.file] + [layer.file for layer in src.info.chain],
    )

def _backing_arguments(backing, chain):
    if not backing:
        return []

    # The link, not its target: the stored name leads to the link.
    arguments = ["-b", chain[0].path]
    if backing.info:
        return arguments + ["-F", backing.info.format]
    return arguments + ["--detect-backing-format", "--standalone-backing"]

def _options(ctx):
    """Returns the options of the format."""
    options = ["cluster_size=%d" % (cluster_size(ctx) or 64 * 1024)]
    size = virtual_size(ctx, "the size of src")
    if size:
        options.append("size=%d" % size)
    compression = ctx.attr.compression
    if compression == "none":
        return ["-o", ",".join(options)]
    return ["-c", "-o", ",".join(options + ["compression_type=" + compression])]

# `bazel query "kind(qcow2_image, ...)"` finds it by this name.
qcow2_image = rule(
    implementation = _qcow2_image_impl,
    doc = "The rule behind the macro qcow2_image, which documents the attributes.",
    attrs = {
        "backing": attr.label(allow_single_file = True),
        "cluster_size": attr.string(),
        "compression": attr.string(
            default = "zstd",
            values = ["none", "zlib", "zstd"],
        ),
        "out": attr.string(),
        "src": attr.label(
            allow_single_file = True,
            mandatory = True,
        ),
        # Not "size": see overlay_rule.bzl.
        "virtual_size": attr.string(),
    },
    provides = [Qcow2Info],
    toolchains = [
        QCOW2CONVERT_TOOLCHAIN_TYPE,
        QCOW2GEN_TOOLCHAIN_TYPE,
    ],
)
