"""What the rules that write images share: attributes, images that they take, providers."""

load(":chain.bzl", "chain_struct")
load(":generator.bzl", "check_image")
load(":providers.bzl", "Qcow2Info")
load(":size.bzl", "parse_size")

def declare_image(ctx):
    """Declares the image of a rule with the attribute `out`.

    Args:
      ctx: the context of the rule.

    Returns:
      A File.
    """
    return ctx.actions.declare_file(ctx.attr.out or ctx.label.name + ".qcow2")

def image_providers(ctx, image, metadata, chain, **output_groups):
    """Declares the check of an image, and returns the providers of its target.

    Args:
      ctx: the context of a rule with the generator's toolchain.
      image: (File) the image.
      metadata: (File) the `metadata` of its Qcow2Info.
      chain: the `chain` of its Qcow2Info.
      **output_groups: further output groups.

    Returns:
      A list of providers.
    """
    report = check_image(ctx, image)
    below = chain_struct(ctx, image, chain)
    return [
        # $(rlocationpath) needs exactly one file. The links are runfiles, which Bazel
        # builds for each requested target: the image opens from bazel-bin.
        DefaultInfo(
            files = depset([image]),
            runfiles = below.runfiles,
        ),
        # Every build of the target makes it, off the critical path.
        OutputGroupInfo(_validation = depset([report]), **output_groups),
        Qcow2Info(
            chain = chain,
            format = "qcow2",
            image = image,
            metadata = metadata,
        ),
    ]

def given_image(ctx, name):
    """Returns the image that an attribute names.

    Args:
      ctx: the context of the rule.
      name: the name of a label attribute with one file.

    Returns:
      A struct with `file`, and `info`, its Qcow2Info or None.
    """
    target = getattr(ctx.attr, name)
    file = getattr(ctx.file, name)
    if file.is_directory:
        fail_attribute(ctx, name, str(target.label), "is a directory; it must be a target with one file")
    return struct(
        file = file,
        info = target[Qcow2Info] if Qcow2Info in target else None,
    )

def virtual_size(ctx, default):
    """Returns the virtual size in bytes, None if it is not given.

    Args:
      ctx: the context of a rule with the attribute virtual_size.
      default: in words, the size that the image has if it is not given.

    Returns:
      A number or None.
    """
    given = ctx.attr.virtual_size
    if not given:
        return None
    size, wrong = parse_size(given)
    if wrong:
        fail_attribute(ctx, "size", given, "is not a size: " + wrong)
    if size == 0:
        fail_attribute(ctx, "size", given, "must be at least 1 byte; omit it to use %s" % default)
    return size

def cluster_size(ctx):
    """Returns the cluster size in bytes, None if it is not given.

    Args:
      ctx: the context of a rule with the attribute cluster_size.

    Returns:
      A number or None.
    """
    given = ctx.attr.cluster_size
    if not given:
        return None
    size, wrong = parse_size(given)
    if wrong:
        fail_attribute(ctx, "cluster_size", given, "is not a size: " + wrong)
    if size not in [512 << i for i in range(13)]:
        fail_attribute(ctx, "cluster_size", given, "is %d bytes; it must be a power of two from 512 to 2M" % size)
    return size

def fail_attribute(ctx, attribute, given, wrong):
    fail("%s: %s = %s %s" % (ctx.label, attribute, repr(given), wrong))
