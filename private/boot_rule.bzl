"""The rule behind qemu_boot_test."""

load(":machine.bzl", "MACHINE_ATTRS", "MACHINE_EXEC_GROUPS", "run_vm")
load(":runner.bzl", "rlocationpath")

# Not given.
_NO_EXIT_STATUS = -1

def _qemu_boot_test_impl(ctx):
    exit_status = ctx.attr.exit_status
    if exit_status < _NO_EXIT_STATUS or exit_status > 255:
        fail("%s: exit_status = %d is not allowed, allowed are 0 to 255" % (ctx.label, exit_status))
    if ctx.attr.time_limit < 0:
        fail("%s: time_limit = %d is not allowed, allowed are 1 and more seconds" % (ctx.label, ctx.attr.time_limit))
    if exit_status == _NO_EXIT_STATUS and not ctx.attr.expect and not ctx.attr.run_while_up:
        exit_status = 0
    return [run_vm(
        ctx,
        {
            "exit_status": None if exit_status == _NO_EXIT_STATUS else exit_status,
            "expect": ctx.attr.expect,
            "fail_on": ctx.attr.fail_on,
            "run_after": _executable(ctx, ctx.executable.run_after),
            "run_while_up": _executable(ctx, ctx.executable.run_while_up),
            "time_limit": ctx.attr.time_limit,
        },
        programs = [target for target in [ctx.attr.run_after, ctx.attr.run_while_up] if target],
    )]

def _executable(ctx, file):
    return rlocationpath(ctx, file) if file else ""

qemu_boot_test = rule(
    implementation = _qemu_boot_test_impl,
    doc = "The rule behind the macro qemu_boot_test, which documents the attributes.",
    attrs = MACHINE_ATTRS | {
        "exit_status": attr.int(default = _NO_EXIT_STATUS),
        "expect": attr.string_list(),
        "fail_on": attr.string_list(),
        "run_after": attr.label(
            doc = """\
a program that runs on the host after the machine has ended as it should; the
test passes if it does. `VM_DISK0` is what the guest wrote to the first disk: a
qcow2 image that overlays it. `VM_QEMU_IMG` and `VM_CONSOLE` are the paths of
qemu-img and of console.log.""",
            cfg = "target",
            executable = True,
        ),
        "run_while_up": attr.label(
            doc = """\
a program that runs on the host once `expect` has been seen; the test passes if
it does. `VM_TCP_22` is the address for the guest's port 22, as in
`127.0.0.1:34567`; `VM_QEMU_IMG` and `VM_CONSOLE` are there as well.""",
            cfg = "target",
            executable = True,
        ),
        "time_limit": attr.int(
            doc = """\
seconds that the machine may take. The default, and the most, is what Bazel's
`timeout` leaves after a tenth (2 to 15 s) for the logs.""",
        ),
    },
    exec_groups = MACHINE_EXEC_GROUPS,
    test = True,
)
