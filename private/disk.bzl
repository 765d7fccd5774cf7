"""Disks of a virtual machine: from a BUILD file's list to the attributes of a rule."""

load(":providers.bzl", "Qcow2Info")
load(":runner.bzl", "rlocationpath")

# QEMU's limit for the length of a serial number, in bytes, by interface. Package plan has
# the same interfaces; tests/vm compares them.
INTERFACES = {"ide": 20, "nvme": 20, "scsi": 36, "virtio": 20}

_SERIAL_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

DISK_ATTRS = {
    # One JSON object per disk: the index of its image in `disks`, interface,
    # read_only and serial. Empty if each image is one virtio disk.
    "disk_options": attr.string_list(),
    "disks": attr.label_list(allow_files = True),
}

def disk_options(image, interface = "virtio", serial = None, read_only = False):
    """Describes how a machine sees a disk: a value for the attribute `disks`.

    ```starlark
    load("@rules_qcow2//:defs.bzl", "disk_options", "qemu_vm")

    qemu_vm(
        name = "vm",
        disks = [
            ":disk",
            disk_options("@debian_image//file", interface = "nvme", serial = "data"),
        ],
    )
    ```

    Args:
      image: (label) the image, as a plain label in `disks`.
      interface: (string) `"virtio"`, `"nvme"`, `"ide"` or `"scsi"`. A microvm
        has virtio only; aarch64 does not have IDE.
      serial: (string) serial number, by which the guest finds the disk
        (`/dev/disk/by-id`): letters, digits, `-`, `_` and `.`; at most 20
        characters, 36 for SCSI. By default QEMU's own.
      read_only: (bool) whether the guest cannot write to the disk. IDE disks
        cannot be read-only.

    Returns:
      The value.
    """
    return struct(image = image, interface = interface, serial = serial or "", read_only = read_only)

def disk_attributes(disks):  # buildifier: disable=unnamed-macro
    """Converts the list of a BUILD file to the attributes in DISK_ATTRS.

    Args:
      disks: a list of labels and values of disk_options(), or a select() of lists
        of labels.

    Returns:
      A dict of keyword arguments for the rule.
    """
    if type(disks) == "select":
        return {"disks": disks}
    if type(disks) == "dict":
        fail("disks = %s is a dict, which is not supported; use a list: disks = [disk_options(\"//:image\", interface = \"nvme\")]" % disks)
    images, options = {}, []
    for disk in disks:
        if type(disk) != "struct":
            disk = disk_options(disk)
        label = native.package_relative_label(disk.image)
        index = images.setdefault(label, len(images))
        options.append(json.encode({
            "image": index,
            "interface": disk.interface,
            "read_only": disk.read_only,
            "serial": disk.serial,
        }))
    return {"disk_options": options, "disks": list(images)}

def machine_disks(ctx, machine, arch):
    """Returns the disks of a machine.

    Args:
      ctx: the context of a rule with DISK_ATTRS.
      machine: QEMU's machine type.
      arch: the guest's architecture.

    Returns:
      A struct with `config`, a list of dicts for the runner, `targets`, a list of the
      images in the same order, `files` and `runfiles`.
    """
    config, files, runfiles, images = [], [], [], []
    targets = ctx.attr.disks
    options = [json.decode(option) for option in ctx.attr.disk_options]
    if not options:
        options = [{"image": i, "interface": "virtio", "read_only": False, "serial": ""} for i in range(len(targets))]
    for option in options:
        target = targets[option["image"]]
        image = _image(ctx, target)
        _check(ctx, target.label, option, machine, arch)
        config.append({
            "format": target[Qcow2Info].format if Qcow2Info in target else "",
            "interface": option["interface"],
            "path": rlocationpath(ctx, image),
            "read_only": option["read_only"],
            "serial": option["serial"],
        })
        files.append(image)
        images.append(target)
        runfiles.append(target[DefaultInfo].default_runfiles)
    return struct(config = config, files = files, runfiles = runfiles, targets = images)

def _image(ctx, target):
    images = target[DefaultInfo].files.to_list()
    if len(images) != 1:
        fail("%s: disk %s has %d files; it must have one, the image" % (ctx.label, target.label, len(images)))
    if images[0].is_directory:
        fail("%s: disk %s is a directory; it must be one file, the image" % (ctx.label, target.label))
    return images[0]

def _check(ctx, label, option, machine, arch):
    """Fails if QEMU would refuse the disk."""
    disk = "%s: disk %s: " % (ctx.label, label)
    interface, serial = option["interface"], option["serial"]
    if interface not in INTERFACES:
        fail(disk + "unknown interface \"%s\"; use virtio, nvme, ide or scsi" % interface)
    if machine.startswith("microvm") and interface != "virtio":
        fail(disk + "interface \"%s\" is not supported by a microvm; use virtio" % interface)
    if arch == "aarch64" and interface == "ide":
        fail(disk + "interface \"ide\" is not supported by aarch64; use virtio, nvme or scsi")
    if interface == "ide" and option["read_only"]:
        fail(disk + "interface \"ide\" does not support read_only; use virtio, nvme or scsi")
    if len(serial) > INTERFACES[interface]:
        fail(disk + "serial \"%s\" has %d characters; %s allows %d" % (serial, len(serial), interface, INTERFACES[interface]))
    if serial.strip(_SERIAL_CHARACTERS):
        fail(disk + "serial \"%s\" must consist of letters, digits, \"-\", \"_\" and \".\"" % serial)
