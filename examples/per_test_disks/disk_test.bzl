"""A test with its own disk."""

load("@rules_qcow2//:defs.bzl", "qcow2_overlay")
load("@rules_shell//shell:sh_test.bzl", "sh_test")

def disk_test(name, srcs, backing, disk_size, **kwargs):
    """A shell test that finds its disk as `$DISK`.

    Args:
      name: name of the test; the name of the disk is `<name>.disk`.
      srcs: the script of the test.
      backing: the base of the disk.
      disk_size: the virtual size of the disk.
      **kwargs: attributes that all tests have.
    """
    disk = name + ".disk"
    qcow2_overlay(
        name = disk,
        size = disk_size,
        backing = backing,
        testonly = True,
    )
    sh_test(
        name = name,
        srcs = srcs,
        data = [
            disk,
            "@qemu//:qemu-img",
            "@qemu//:qemu-io",
            "@rules_qcow2//:qcow2gen",
        ],
        env = {
            "DISK": "$(rootpath %s)" % disk,
            "QCOW2GEN": "$(rootpath @rules_qcow2//:qcow2gen)",
            "QEMU_IMG": "$(rootpath @qemu//:qemu-img)",
            "QEMU_IO": "$(rootpath @qemu//:qemu-io)",
        },
        **kwargs
    )
