"""qemu_boot_test as BUILD files call it."""

load(":boot_rule.bzl", _qemu_boot_test = "qemu_boot_test")
load(":machine.bzl", "disks_dict")

# What a guest that has come to grief says.
DEFAULT_FAIL_ON = [
    "Kernel panic - not syncing",
    "BUG: unable to handle",
    "Oops: [0-9]",
    "You are in (emergency|rescue) mode",
]

def qemu_boot_test(name, disks = {}, expect = [], fail_on = DEFAULT_FAIL_ON, exit_status = None, **kwargs):
    """Boots a virtual machine and passes if it does what is expected of it.

    ```starlark
    load("@rules_qcow2//:defs.bzl", "qcow2_overlay", "qemu_boot_test")

    qcow2_overlay(
        name = "disk",
        backing = "@debian_image//file",
    )

    qemu_boot_test(
        name = "boot_test",
        timeout = "short",
        disks = [":disk"],
        expect = ["login: "],
        memory = "1G",
    )
    ```

    The guest writes to throwaway layers in `$TEST_TMPDIR`, never to an output of
    Bazel's. The test's outputs hold `console.log`, `qemu.log`, `screenshot.png`
    and `command`, which runs the machine again.

    A test without QEMU for the platform it runs on is incompatible, and
    skipped by `bazel test //...`.

    Args:
      name: name of the target.
      disks: what the guest sees as disks, in this order, the first of which it
        boots from: labels of images, or of targets with one, as keys, and for
        each how it is attached: `"virtio"`, `"nvme"`, `"ide"` or `"scsi"`,
        which properties of QEMU's device may follow, as in
        `"nvme,serial=data"`. A list is one of virtio disks. One image can be
        given once: for two disks of the same contents, declare two overlays.
        The format of an image that is no `qcow2_overlay` is what its first
        bytes say.
      expect: regular expressions, in Go's syntax, that have to appear on the
        first serial port (`console=ttyS0` for Linux), in this order. None
        spans lines; escape sequences of terminals are left out; `$` is the end
        of a finished line, so a prompt is matched without it. With no
        `exit_status` the test passes with the last of them.
      fail_on: regular expressions that must not appear there: the test fails at
        the first. The default is `DEFAULT_FAIL_ON`: panics of Linux, and
        systemd's emergency mode. That QEMU reports an internal error of KVM
        fails a test in any case.
      exit_status: QEMU's exit status, with which the guest has to end by
        itself: 0 if it powers off (a reset is none), or twice the value plus
        one that it writes to the isa-debug-exit device, which it then finds at
        port 0xf4. The default is 0 if neither `expect` nor `run_while_up` is
        given, and else that the guest need not end.
      **kwargs: attributes that all tests have, such as `timeout` and `tags`.
    """
    _qemu_boot_test(
        name = name,
        disks = disks_dict(disks),
        # None is the rule's default.
        exit_status = exit_status,
        expect = expect,
        fail_on = fail_on,
        **kwargs
    )
