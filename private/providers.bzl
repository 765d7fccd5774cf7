"""Providers of rules_qcow2."""

Qcow2Info = provider(
    doc = "A qcow2 image, and what it takes to open it.",
    fields = {
        "chain": """\
All images below `image`, from the one it names as its backing file downwards:
a list of structs with `path`, relative to the directory of `image`, by which a
reader reaches the image, `file`, a link to it that is laid out at that path,
and `target`, the `File` that it links to.""",
        "format": "Name of QEMU's block driver for `image`: `qcow2`.",
        "image": "The image: a `File`.",
        "metadata": """\
A JSON `File` that says in place of the image what an overlay on top of it
has to know: an object with `virtual-size` and `cluster-size` in bytes, and
`format`, as `qemu-img info --output=json` has them.""",
    },
)
