"""The qcow2_overlay rule."""

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
    chain = _link_chain(ctx, image, backing)

    args = ctx.actions.args()
    args.add_all(["create", "-q", "-f", "qcow2"])
    args.add_joined("-o", options, join_with = ",")
    args.add("-b", chain[0].path)
    inputs = []
    if backing.info:
        # Its metadata file says what there is to know.
        args.add(backing.info.metadata, format = "--backing-info=%s")
        args.add("-F", backing.format)
        inputs.append(backing.info.metadata)
    elif size and backing.format != "auto":
        # Nothing has to be known: a base of many gigabytes is not even an
        # input.
        args.add("-u")
        args.add("-F", backing.format)
    else:
        # The link, not its target: it is found by the name that is stored.
        inputs.append(chain[0].file)
        if backing.format == "auto":
            args.add("--detect-backing-format")
        else:
            args.add("-F", backing.format)
    args.add("--no-shrink")
    args.add(metadata, format = "--info-output=%s")
    args.add(image)
    if size:
        args.add(str(size))

    ctx.actions.run(
        executable = ctx.toolchains[QCOW2GEN_TOOLCHAIN_TYPE].qcow2gen,
        arguments = [args],
        inputs = inputs,
        outputs = [image, metadata],
        mnemonic = "Qcow2Overlay",
        progress_message = "Creating qcow2 overlay %{output}",
        execution_requirements = {"supports-path-mapping": "1"},
        toolchain = QCOW2GEN_TOOLCHAIN_TYPE,
    )

    links = [layer.file for layer in chain]
    return [
        # One file, or $(rlocationpath) has no answer. The links come along
        # wherever the image is run from.
        DefaultInfo(
            files = depset([image]),
            runfiles = ctx.runfiles([image] + links),
        ),
        # Built with every build of the target, so that the image opens from
        # bazel-bin as well.
        OutputGroupInfo(_validation = depset(links)),
        Qcow2Info(
            chain = chain,
            format = "qcow2",
            image = image,
            metadata = metadata,
        ),
    ]

def _backing(ctx):
    """Returns the file to overlay, its format or "auto", and its Qcow2Info or None."""
    file = ctx.file.backing
    format = ctx.attr.backing_format
    info = ctx.attr.backing[Qcow2Info] if Qcow2Info in ctx.attr.backing else None
    if file.is_directory:
        _fail(ctx, "backing", ctx.attr.backing.label, "is a directory, allowed is a target with one file")
    if info:
        if format not in ["auto", info.format]:
            _fail(ctx, "backing_format", format, "contradicts backing = \"%s\", which is %s: leave it out" % (ctx.attr.backing.label, info.format))
        return struct(file = info.image, format = info.format, info = info)
    if format not in ["auto", "raw", "qcow2"] and not ctx.attr.size:
        _fail(ctx, "backing_format", format, "needs a size: the virtual size can be read from raw and qcow2 files only")
    return struct(file = file, format = format, info = None)

def _size(ctx):
    """Returns the virtual size in bytes, None for that of the backing file."""
    if not ctx.attr.size:
        return None
    size, wrong = parse_size(ctx.attr.size)
    if wrong:
        _fail(ctx, "size", ctx.attr.size, "is no size: " + wrong)
    if size == 0:
        _fail(ctx, "size", ctx.attr.size, "is no disk for a guest: allowed is 1 byte and more, or nothing for the size of the backing file")
    return size

def _options(ctx):
    """Returns the format's options as qemu-img create takes them behind -o."""
    version_3 = ctx.attr.compat == "1.1"
    if ctx.attr.cluster_size:
        cluster_size, wrong = parse_size(ctx.attr.cluster_size)
        if wrong:
            _fail(ctx, "cluster_size", ctx.attr.cluster_size, "is no size: " + wrong)
        if cluster_size not in [512 << i for i in range(13)]:
            _fail(ctx, "cluster_size", ctx.attr.cluster_size, "is %d bytes, allowed are powers of two from 512 to 2M" % cluster_size)
    else:
        cluster_size = 128 * 1024 if version_3 and ctx.attr.extended_l2 else 64 * 1024
    if ctx.attr.lazy_refcounts and not version_3:
        _fail(ctx, "lazy_refcounts", True, "needs compat = \"1.1\", given is \"%s\"" % ctx.attr.compat)
    extended_l2 = ctx.attr.extended_l2 and version_3 and cluster_size >= _SMALLEST_EXTENDED_L2_CLUSTER
    return [
        "compat=" + ctx.attr.compat,
        "cluster_size=%d" % cluster_size,
        "extended_l2=" + _on_off(extended_l2),
        "lazy_refcounts=" + _on_off(ctx.attr.lazy_refcounts),
    ]

def _on_off(value):
    return "on" if value else "off"

def _link_chain(ctx, image, backing):
    """Lays out links to all lower images beside the image.

    QEMU joins a relative backing file name to the directory of the name by
    which it opened the overlay, for each layer anew, and follows no link
    before. `<image>.backing/<base>` therefore holds in bazel-bin, in
    runfiles, in a sandbox and below another overlay, whatever repository and
    configuration the base comes from.
    """
    lower = [("", backing.file)]
    if backing.info:
        lower += [(layer.path, layer.target) for layer in backing.info.chain]
    folder = image.basename + ".backing/"
    chain = []
    for path, target in lower:
        path = folder + (path or target.basename)
        link = ctx.actions.declare_file(path, sibling = image)
        ctx.actions.symlink(
            output = link,
            target_file = target,
            progress_message = "Linking qcow2 backing file %{output}",
        )
        chain.append(struct(path = path, file = link, target = target))
    return chain

def _fail(ctx, attribute, given, wrong):
    fail("%s: %s = \"%s\" %s" % (ctx.label, attribute, given, wrong))

qcow2_overlay = rule(
    implementation = _qcow2_overlay_impl,
    doc = """\
A disk that a guest can write to while the image below it stays as it is: a
qcow2 image of a few kilobytes that holds nothing yet and reads everything
from its backing file.

```starlark
load("@rules_qcow2//:defs.bzl", "qcow2_overlay")

qcow2_overlay(
    name = "disk",
    backing = "@debian_image//file",
    size = "20G",
)
```

The target has one output, `disk.qcow2`. Links to all images below it are laid
out beside it in `disk.qcow2.backing/`, and its stored backing file name is
relative, so it opens from `bazel-bin`, in the runfiles of a test, under
remote execution and below other overlays alike. The bytes do not depend on the
machine or the configuration.

Bazel's outputs are not to be written to: give a guest a layer of its own on
top, in `$TEST_TMPDIR`.
""",
    attrs = {
        "backing": attr.label(
            doc = """\
The image to overlay: a file, a target with one output, or another
`qcow2_overlay`. Its own chain of backing files is known to Bazel only if it is
a `qcow2_overlay`; a qcow2 file that names a backing file is refused if that
cannot be opened from where the link to the file is.""",
            allow_single_file = True,
            mandatory = True,
        ),
        "backing_format": attr.string(
            doc = """\
The format of `backing`, which is recorded in the overlay in any case: `raw`,
`qcow2`, or another block driver of QEMU, for which `size` has to be given.
`auto` is what the first bytes of the file say. If both `size` and the format
are given, the file is not read to make the overlay, and no remote executor
needs it; that `size` is not smaller than the file is then not checked.""",
            default = "auto",
        ),
        "cluster_size": attr.string(
            doc = """\
The unit in which the overlay grows: a power of two from `512` to `2M`. The
default is `128K` with `extended_l2`, and `64K` without.""",
        ),
        "compat": attr.string(
            doc = """\
The version of the format: `1.1` is version 3, `0.10` is version 2 for readers
from before 2012 and for those that never learned version 3; it turns off
`extended_l2`.""",
            default = "1.1",
            values = ["0.10", "1.1"],
        ),
        "extended_l2": attr.bool(
            doc = """\
Whether a cluster is divided into 32 subclusters that are copied on their own:
small writes are several times faster and take less disk. It needs QEMU 5.2
(2020) or newer; turn it off for other readers (cloud-hypervisor, crosvm). It has
no effect with `compat = "0.10"` and clusters smaller than `16K`, where the
format has no subclusters.""",
            default = True,
        ),
        "lazy_refcounts": attr.bool(
            doc = """\
Whether QEMU may put off updates of reference counts, and repair them after a
crash.""",
            default = False,
        ),
        "out": attr.output(
            doc = "The image's file name. The default is `<name>.qcow2`.",
        ),
        "size": attr.string(
            doc = """\
The virtual size, as qemu-img takes it: a number with a suffix of powers of
1024, as in `20G`, `20GiB`, `3.5G` or `21474836480`. It is rounded up to a
multiple of 512 bytes. The default is the virtual size of `backing`, and less
than that is an error; where it is more, the guest reads zeros behind the end
of `backing`.""",
        ),
    },
    provides = [Qcow2Info],
    toolchains = [QCOW2GEN_TOOLCHAIN_TYPE],
)
