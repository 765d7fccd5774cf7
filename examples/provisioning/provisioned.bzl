"""A layer with data, as a base for overlays."""

load("@rules_qcow2//:defs.bzl", "Qcow2Info")

def _provisioned_impl(ctx):
    info = ctx.attr.layer[Qcow2Info]

    # The copy has the same backing file name as the layer, so it needs the same
    # links next to it. Its own folder keeps them apart from other links.
    image = ctx.actions.declare_file("%s/%s" % (ctx.label.name, info.image.basename))
    chain = []
    for lower in info.chain:
        link = ctx.actions.declare_file("%s/%s" % (ctx.label.name, lower.path))
        ctx.actions.symlink(output = link, target_file = lower.target)
        chain.append(struct(path = lower.path, file = link, target = lower.target))
    links = [lower.file for lower in chain]

    args = ctx.actions.args()
    args.add_all([ctx.executable._qemu_io, info.image, image])
    args.add_all(ctx.attr.commands, before_each = "-c")
    ctx.actions.run_shell(
        arguments = [args],
        command = """\
set -eu
qemu_io=$1 layer=$2 image=$3
shift 3
cp "$layer" "$image"
chmod u+w "$image"
"$qemu_io" -f qcow2 "$@" "$image" >/dev/null
""",
        inputs = [info.image] + links,
        mnemonic = "Provision",
        outputs = [image],
        progress_message = "Filling %{output}",
        tools = [ctx.executable._qemu_io],
    )
    return [
        DefaultInfo(
            files = depset([image]),
            runfiles = ctx.runfiles([image] + links),
        ),
        OutputGroupInfo(_validation = depset(links)),
        # Size and format are those of the layer.
        Qcow2Info(
            chain = chain,
            format = info.format,
            image = image,
            metadata = info.metadata,
        ),
    ]

provisioned = rule(
    implementation = _provisioned_impl,
    doc = "A copy of an overlay with writes of qemu-io.",
    attrs = {
        "commands": attr.string_list(doc = "Commands of qemu-io."),
        "layer": attr.label(
            doc = "The overlay to copy.",
            mandatory = True,
            providers = [Qcow2Info],
        ),
        "_qemu_io": attr.label(
            allow_files = True,
            cfg = "exec",
            default = "@qemu//:qemu-io",
            executable = True,
        ),
    },
    provides = [Qcow2Info],
)
