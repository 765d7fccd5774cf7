"""A layer with data."""

load("@rules_qcow2//:defs.bzl", "Qcow2Info")

def _provisioned_impl(ctx):
    info = ctx.attr.layer[Qcow2Info]

    # In its own folder: the links keep the names that the layer has stored.
    image = ctx.actions.declare_file("%s/%s.qcow2" % (ctx.label.name, ctx.label.name))
    chain = []
    for lower in info.chain:
        link = ctx.actions.declare_file("%s/%s" % (ctx.label.name, lower.path))
        ctx.actions.symlink(output = link, target_file = lower.target)
        chain.append(struct(path = lower.path, file = link, target = lower.target))
    links = [lower.file for lower in chain]

    args = ctx.actions.args()
    args.add_all([ctx.executable._qemu_io, info.image, image])
    args.add_all(ctx.attr.commands)
    ctx.actions.run(
        executable = ctx.executable._provision,
        arguments = [args],
        inputs = [info.image] + links,
        outputs = [image],
        tools = [ctx.executable._qemu_io],
        mnemonic = "Provision",
    )
    return [
        DefaultInfo(
            files = depset([image]),
            runfiles = ctx.runfiles([image] + links),
        ),
        OutputGroupInfo(_validation = depset(links)),
        Qcow2Info(
            chain = chain,
            format = info.format,
            image = image,
            metadata = info.metadata,
        ),
    ]

provisioned = rule(
    implementation = _provisioned_impl,
    doc = "A copy of a layer with writes of qemu-io.",
    attrs = {
        "commands": attr.string_list(),
        "layer": attr.label(
            mandatory = True,
            providers = [Qcow2Info],
        ),
        "_provision": attr.label(
            default = "//provision",
            cfg = "exec",
            executable = True,
        ),
        "_qemu_io": attr.label(
            default = "@qemu//:qemu-io",
            allow_files = True,
            cfg = "exec",
            executable = True,
        ),
    },
)
