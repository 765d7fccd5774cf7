"""qemu_vm: a virtual machine to look at."""

load(":machine.bzl", "MACHINE_ATTRS", "MACHINE_EXEC_GROUPS", "disks_dict", "run_vm")

def _qemu_vm_impl(ctx):
    return [run_vm(ctx, {"interactive": True})]

_qemu_vm = rule(
    implementation = _qemu_vm_impl,
    doc = "The rule behind the macro qemu_vm, which documents the attributes.",
    attrs = MACHINE_ATTRS,
    exec_groups = MACHINE_EXEC_GROUPS,
    executable = True,
)

def qemu_vm(name, disks = {}, **kwargs):
    """A virtual machine that `bazel run` boots on the terminal.

    Its first serial port is the terminal; Ctrl-A X leaves. What the guest
    writes goes to a throwaway layer: `bazel run //:vm -- --keep` keeps it and
    says where. Further arguments are QEMU's, as in `-- -display gtk`.

    `bazel run` of a `qemu_boot_test` with `-- --interactive` does the same with
    the machine of that test.

    Args:
      name: name of the target.
      disks: the machine's disks, as in `qemu_boot_test`.
      **kwargs: the machine's other attributes, as in `qemu_boot_test`: all of
        them but those that say when a test passes (`expect`, `fail_on`,
        `exit_status`, `run_while_up`, `run_after`, `time_limit`); and
        attributes that all rules have, such as `visibility`.
    """
    _qemu_vm(
        name = name,
        disks = disks_dict(disks),
        **kwargs
    )
