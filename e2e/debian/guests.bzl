"""The guests: their kernels and disks, and what tests should see there.

They are as Debian's packages make them. Nothing on their disks is ours, apart from
/etc/fstab, /etc/hostname and, on disk.img, grub.cfg. make.sh has the sizes of the
disks.
"""

load("@rules_qcow2//:defs.bzl", "qemu_vm")

KERNEL_ARGS = [
    "root=LABEL=root",
    "console=ttyS0",
]

_MIB = 1024 * 1024

_SECTORS_PER_MIB = _MIB // 512

SEEN_DEBIAN12 = {
    "ROOT": "/dev/vda",
    "SECTORS": str(1024 * _SECTORS_PER_MIB),
    "VERSION": "12",
}

SEEN_DEBIAN13 = {
    "ROOT": "/dev/vda",
    "SECTORS": str(768 * _SECTORS_PER_MIB),
    "VERSION": "13",
}

SEEN_DEBIAN13_DISK = {
    "PARTITION": ",offset=%d,size=%d" % (34 * _MIB, 768 * _MIB),
    "ROOT": "/dev/vda3",
    "SECTORS": str((34 + 768 + 1) * _SECTORS_PER_MIB),
    "VERSION": "13",
}

def debian12(name, root = "@debian12//:root.img", kernel_args = KERNEL_ARGS, memory = "512M", **kwargs):
    """Debian 12, started by a kernel that QEMU loads.

    Args:
      name: name of the qemu_vm.
      root: the image with the root file system.
      kernel_args: as in qemu_vm.
      memory: as in qemu_vm.
      **kwargs: further attributes of the machine.
    """
    qemu_vm(
        name = name,
        testonly = True,
        disks = [root],
        initrd = "@debian12//:initrd.img",
        kernel = "@debian12//:vmlinuz",
        kernel_args = kernel_args,
        memory = memory,
        **kwargs
    )

def debian13(name, kernel_args = KERNEL_ARGS, disks = ["@debian13//:root.img"], **kwargs):
    """Debian 13, started by a kernel that QEMU loads.

    Args:
      name: name of the qemu_vm.
      kernel_args: as in qemu_vm.
      disks: as in qemu_vm.
      **kwargs: further attributes of the machine.
    """
    qemu_vm(
        name = name,
        testonly = True,
        disks = disks,
        initrd = "@debian13//:initrd.img",
        kernel = "@debian13//:vmlinuz",
        kernel_args = kernel_args,
        memory = "512M",
        **kwargs
    )

def debian13_disk(name, memory = "512M", **kwargs):
    """Debian 13, which boots from its disk.

    Args:
      name: name of the qemu_vm.
      memory: as in qemu_vm.
      **kwargs: further attributes of the machine.
    """
    qemu_vm(
        name = name,
        testonly = True,
        disks = ["@debian13//:disk.img"],
        memory = memory,
        **kwargs
    )
