"""A user's rule, which writes an image and links with the public helper."""

load("//:defs.bzl", "Qcow2Info", "link_backing_chain")

def _own_image_impl(ctx):
    image = ctx.actions.declare_file(ctx.label.name + ".qcow2")
    metadata = ctx.actions.declare_file(ctx.label.name + ".qcow2.json")
    below = link_backing_chain(ctx, image, ctx.attr.backing)
    ctx.actions.run(
        executable = ctx.executable._qcow2gen,
        arguments = ["create", "-q", "-F", ctx.attr.format, "-b", below.backing_file, "--info-output", metadata.path, image.path],
        inputs = below.links,
        outputs = [image, metadata],
    )
    return [
        DefaultInfo(
            files = depset([image]),
            runfiles = below.runfiles,
        ),
        Qcow2Info(chain = below.chain, format = "qcow2", image = image, metadata = metadata),
    ]

own_image = rule(
    implementation = _own_image_impl,
    attrs = {
        "backing": attr.label(allow_single_file = True),
        "format": attr.string(),
        "_qcow2gen": attr.label(
            cfg = "exec",
            default = "//:qcow2gen",
            executable = True,
        ),
    },
)
