"""qemu_boot_test, as BUILD files call it."""

load(":agent.bzl", "agent_attributes")
load(":boot_rule.bzl", _qemu_boot_test = "qemu_boot_test")
load(":disk.bzl", "disk_attributes")
load(":machine.bzl", "MACHINE_ATTRS")

# Messages that mean a crash, or that the guest waits for a user. go/vm has the same.
DEFAULT_FAIL_ON = [
    "Kernel panic - not syncing",
    "BUG: unable to handle",
    "Oops: [0-9]",
    "You are in (emergency|rescue) mode",
    "Entering emergency mode\\. Exit the shell",
    "Gave up waiting for root file system device",
    "^grub( rescue)?> ",
    "BdsDxe: No bootable option or device was found",
]

def qemu_boot_test(name, vm = None, disks = [], expect = [], fail_on = DEFAULT_FAIL_ON, exit_status = None, **kwargs):
    """Boots a virtual machine and passes if its console shows the expected text.

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

    The machine is a `qemu_vm`, given as `vm`, or described by the same
    attributes in the test itself.

    The guest writes to throwaway layers in `$TEST_TMPDIR`, never to an output
    of the build. The test's outputs hold `console.log`, `qemu.log`,
    `screenshot.png`, and `command`, which runs the machine again. `bazel run`
    with `-- --interactive` runs it on the terminal, as for a `qemu_vm`.

    Without QEMU on the platform that tests run on, the test is incompatible:
    `bazel test //...` skips it.

    Args:
      name: name of the target.
      vm: (label) a `qemu_vm` or `qemu_snapshot`. It excludes all attributes of the
        machine except for `disks`.
      disks: (list of labels and of `disk_options()` values) the guest's disks, as
        in `qemu_vm`. With `vm`, they replace those of the machine, which cannot be a
        snapshot.
      expect: (list of strings) regular expressions in Go's syntax. The first
        serial port (`console=ttyS0` for Linux) must show a match of each, in
        this order. Patterns match within one line; escape sequences of
        terminals are removed before. Omit `$` to match a prompt. If neither
        `exit_status` nor `run_while_up` is given, the test passes with the last
        match.
      fail_on: (list of strings) regular expressions in Go's syntax. The test
        fails if the first serial port shows a match. The default,
        `DEFAULT_FAIL_ON`, has the messages by which Linux, systemd, initrds, GRUB and
        UEFI firmware say that they crashed or wait for a user. A BIOS without a disk to boot from,
        and an internal error of KVM, always fail the test.
      exit_status: (int) the exit status that QEMU must end with: 0 if the guest
        must power off (a reset does not count), or an odd number 2n+1 if the
        guest must write n to the isa-debug-exit device, which is then at port
        0xf4 (x86_64 only). The default is 0 if neither `expect` nor
        `run_while_up` is given; with one of them, the guest need not end.
      **kwargs: attributes that all tests have, such as `timeout` and `tags`.
    """
    if vm:
        given = [key for key in kwargs if key in MACHINE_ATTRS]
        if given:
            fail("%s: %s cannot be set with vm = \"%s\", which describes the machine; set %s of the qemu_vm, or omit vm" % (native.package_relative_label(name), given[0], vm, given[0]))

    # Only run_while_up can use the agent.
    agent = agent_attributes(kwargs) if kwargs.get("run_while_up") and not vm else {}
    _qemu_boot_test(
        name = name,
        # None is the rule's default.
        exit_status = exit_status,
        expect = expect,
        fail_on = fail_on,
        vm = vm,
        **(disk_attributes(disks) | agent | kwargs)
    )
