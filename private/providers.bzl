"""Providers of rules_qcow2."""

Qcow2Info = provider(
    doc = "Provider of image targets: a qcow2 image and the files that are needed to open it.",
    fields = {
        "chain": """\
All images below `image`, from its backing file downwards: a list of structs with
`path`, the path relative to the directory of `image` by which a reader reaches
the image; `file`, a link to it at that path; and `target`, the `File` that the
link points to. It is empty if `image` does not have a backing file.""",
        "format": "Name of QEMU's block driver for `image`: `qcow2`.",
        "image": "The image: a `File`.",
        "metadata": """\
A JSON `File` that tells an overlay on top of the image what it would otherwise
read from the image: an object with `virtual-size` and `cluster-size` in bytes, and
`format`, named as in `qemu-img info --output=json`.""",
    },
)

QemuVmInfo = provider(
    doc = "Provider of machine targets: a virtual machine and the files that are needed to run it.",
    fields = {
        "agent_runfiles": "The `runfiles` that the agent needs besides `runfiles`.",
        "config": """\
The machine: a dict with the keys and values of `Config` in the Go package
`go/vm`. Paths are rlocation paths.""",
        "disks": "The images of the machine's disks: a list of `Target`s.",
        "runfiles": "The `runfiles` with QEMU, the images and all other files of the machine.",
    },
)
