"""The links that let an image find its backing files, wherever Bazel puts it."""

load(":providers.bzl", "Qcow2Info")

def link_backing_chain(ctx, image, backing):
    """Lays out links to all images below an image, next to it.

    QEMU joins a relative backing file name to the directory of the path it
    opened the overlay by. It does so for each image of the chain, and does not
    follow symbolic links first. A rule that writes a qcow2 image stores the
    backing file name `<image>.backing/<base>`, to which this function links the
    base. That name holds in `bazel-bin`, in runfiles, in a sandbox and below
    another overlay, whatever repository and configuration the base comes from.

    docs/overlays.md has a complete rule.

    Args:
      ctx: the context of the rule.
      image: (File) the image, an output of the rule.
      backing: (Target) the backing image: with `Qcow2Info`, or with one file.

    Returns:
      A struct: `backing_file`, the backing file name to store in
      the image; `chain`, for its `Qcow2Info`; `links`, a list of `File`s, the inputs of an
      action that reads the images below; and `runfiles`, with the image and the links, for
      its `DefaultInfo`. Bazel builds the runfiles of each requested target, so the image
      opens from `bazel-bin`, too.
    """
    chain = link_chain(ctx, image.basename + ".backing/", backing, sibling = image)
    return chain_struct(ctx, image, chain)

def chain_struct(ctx, image, chain):
    """Returns the struct of link_backing_chain.

    Args:
      ctx: the context of the rule.
      image: the image.
      chain: the `chain` of its Qcow2Info; empty if it does not have a backing file.
    """
    links = [layer.file for layer in chain]
    return struct(
        backing_file = chain[0].path if chain else "",
        chain = chain,
        links = links,
        runfiles = ctx.runfiles([image] + links),
    )

def link_chain(ctx, folder, backing, sibling = None):
    """Lays out links to an image and all images below it, in a folder.

    Args:
      ctx: the context of the rule.
      folder: the folder, with a slash at its end.
      backing: (Target) the image.
      sibling: (File) a file next to the folder. The default is the target's package.

    Returns:
      The `chain` of a Qcow2Info. Its paths begin with `folder`.
    """
    if Qcow2Info in backing:
        info = backing[Qcow2Info]
        lower = [("", info.image)] + [(layer.path, layer.target) for layer in info.chain]
    else:
        lower = [("", backing[DefaultInfo].files.to_list()[0])]
    chain = []
    for path, target in lower:
        path = folder + (path or target.basename)
        link = ctx.actions.declare_file(path, sibling = sibling)
        ctx.actions.symlink(
            output = link,
            target_file = target,
            progress_message = "Linking qcow2 backing file %{output}",
        )
        chain.append(struct(path = path, file = link, target = target))
    return chain
