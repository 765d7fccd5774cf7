"""qemu_vm, as BUILD files call it."""

load(":agent.bzl", "agent_attributes")
load(":disk.bzl", "disk_attributes")
load(":vm_rule.bzl", _qemu_vm = "qemu_vm")

def qemu_vm(name, disks = [], **kwargs):
    """A virtual machine: for tests, which take it as `vm`, and for `bazel run`.

    ```starlark
    load("@rules_qcow2//:defs.bzl", "qemu_boot_test", "qemu_vm")

    qemu_vm(
        name = "debian",
        disks = [":disk"],
        memory = "1G",
    )

    qemu_boot_test(
        name = "boot_test",
        expect = ["login: "],
        vm = ":debian",
    )
    ```

    `bazel run :debian` boots the machine on the terminal, which is its first
    serial port. Ctrl-A X leaves it. The guest writes to throwaway layers;
    `bazel run :debian -- --keep` keeps them and prints their folder. Further
    arguments are QEMU's, as in `-- -display gtk`. If a forwarded port of the
    host is not fixed, the command prints it.

    `bazel run :debian -- exec -- uname -a` boots a machine that has an agent, runs
    a command in the guest, and ends with its exit status.

    Args:
      name: name of the target.
      disks: (list of labels and of `disk_options()` values) the guest's disks, in
        order; it boots from the first. A plain label is a virtio disk. The same
        image may appear more than once. The format of an image without
        `Qcow2Info` is detected from its first bytes, as by `qcow2_overlay`. A
        `select()` must consist of lists of plain labels.
      **kwargs: attributes that all rules have, such as `visibility`.
    """
    _qemu_vm(name = name, **(disk_attributes(disks) | agent_attributes(kwargs) | kwargs))
