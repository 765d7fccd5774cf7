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
A JSON `File` for overlays on top of the image, whose actions then need not read the
image: an object with `virtual-size` and `cluster-size` in bytes, and
`format`, named as in `qemu-img info --output=json`.""",
    },
)

QemuVmInfo = provider(
    doc = "Provider of machine targets: a virtual machine and the files that are needed to run it.",
    fields = {
        "arch": "The guest's architecture, named as by QEMU: `x86_64` or `aarch64`.",
        "disks": "The images of the machine's disks: a list of `File`s.",
        "machine": """\
Private to the rules of this repository: its content changes without notice. Another
rule can pass it on unchanged.""",
        "runfiles": "The `runfiles` with the images and all other files of the machine, without QEMU and the agent.",
    },
)

def vm_info(config, disks, runfiles, agent_runfiles, uefi):
    """Returns the QemuVmInfo of a machine.

    Args:
      config: a dict with the keys and values of `Config` in the Go package
        `go/vm/machine`, without those of QEMU: see with_qemu. Paths are rlocation paths.
      disks: the images of the machine's disks: a list of `Target`s with one file each.
      runfiles: see QemuVmInfo.
      agent_runfiles: the `runfiles` that the agent needs besides `runfiles`.
      uefi: whether the machine has UEFI firmware.

    Returns:
      A QemuVmInfo, whose `machine` is a struct with these except for `runfiles`.
    """
    return QemuVmInfo(
        arch = config["arch"],
        disks = [disk[DefaultInfo].files.to_list()[0] for disk in disks],
        machine = struct(agent_runfiles = agent_runfiles, config = config, disks = disks, uefi = uefi),
        runfiles = runfiles,
    )
