"""The rule behind qemu_boot_test."""

load(":action.bzl", "machine_with_disks")
load(":machine.bzl", "MACHINE_ATTRS", "machine", "with_qemu", "without_agent")
load(":providers.bzl", "QemuVmInfo")
load(":runner.bzl", "ENVIRONMENT_ATTRS", "EXEC_GROUPS", "programs_of", "rlocationpath", "run", "target_name", "test_environment", "test_resources")

# Not given.
_NO_EXIT_STATUS = -1

def _qemu_boot_test_impl(ctx):
    vm = machine_with_disks(ctx, ctx.attr.vm[QemuVmInfo]) if ctx.attr.vm else machine(ctx)

    # Without run_while_up, the agent would only change the boot.
    equipped = with_qemu(ctx, vm)
    config = equipped.config if ctx.attr.run_while_up else without_agent(equipped.config)
    hooks = [target for target in [ctx.attr.run_after, ctx.attr.run_while_up] if target]
    programs = programs_of(ctx)
    vm_program = programs.vm.files_to_run.executable if ctx.attr.run_while_up else None
    runfiles = [equipped.runfiles] + [target[DefaultInfo].default_runfiles for target in hooks + ctx.attr.data]
    if ctx.attr.run_while_up:
        runfiles += [vm.machine.agent_runfiles, ctx.runfiles([vm_program])]
    if ctx.attr.time_limit < 0:
        fail("%s: time_limit = %d must be at least 1 second" % (ctx.label, ctx.attr.time_limit))
    return [test_resources(ctx, config), test_environment(ctx), run(
        ctx,
        programs.vmboot,
        {
            "exit_status": _exit_status(ctx, vm),
            "expect": ctx.attr.expect,
            "fail_on": ctx.attr.fail_on,
            "machine": config | {"target": target_name(ctx)},
            "run_after": _executable(ctx, ctx.executable.run_after),
            "run_while_up": _executable(ctx, ctx.executable.run_while_up),
            "time_limit": ctx.attr.time_limit,
            "vm": _executable(ctx, vm_program),
        },
        ".vm.json",
        runfiles + [ctx.runfiles(ctx.files.data)],
    )]

def _exit_status(ctx, vm):
    """Returns the exit status that QEMU must have, None if the guest need not end."""
    status = ctx.attr.exit_status
    if status == _NO_EXIT_STATUS:
        return None if ctx.attr.expect or ctx.attr.run_while_up else 0
    if status != 0 and vm.machine.config["arch"] != "x86_64":
        fail("%s: exit_status = %d needs the isa-debug-exit device, which %s does not have; use 0" % (ctx.label, status, vm.machine.config["arch"]))
    if status != 0 and "snapshot" in vm.machine.config:
        fail("%s: exit_status = %d needs the isa-debug-exit device, which a snapshot does not have; use 0" % (ctx.label, status))
    if status < 0 or status > 255 or status != 0 and status % 2 == 0:
        fail("%s: exit_status = %d must be 0 or an odd number up to 255: a guest that writes n to isa-debug-exit ends QEMU with 2n+1" % (ctx.label, status))
    return status

def _executable(ctx, file):
    return rlocationpath(ctx, file) if file else ""

qemu_boot_test = rule(
    implementation = _qemu_boot_test_impl,
    doc = "The rule behind the macro qemu_boot_test, which documents the attributes.",
    attrs = MACHINE_ATTRS | ENVIRONMENT_ATTRS | {
        "data": attr.label_list(
            doc = "files that `run_while_up` and `run_after` need, and that `args` and `env` name.",
            allow_files = True,
        ),
        "exit_status": attr.int(default = _NO_EXIT_STATUS),
        "expect": attr.string_list(),
        "fail_on": attr.string_list(),
        "run_after": attr.label(
            doc = """\
a program that runs on the host after the machine has ended as expected. The test
passes if it exits with 0. `VM_DISK0` is the path of the layer with the guest's
writes to the first disk: a qcow2 image on top of that disk. `VM_QEMU_IMG` and
`VM_CONSOLE` are the paths of qemu-img and of console.log. The test's arguments
(`--test_arg`) are its arguments. If the test passes by `expect` alone, the machine
is stopped like a computer whose power is cut: the guest has not synced its file
systems.""",
            cfg = "target",
            executable = True,
        ),
        "run_while_up": attr.label(
            doc = """\
a program that runs on the host once the console has shown all of `expect`. The
test passes if it exits with 0. `VM_TCP_22` is the address of the guest's port 22,
as in `127.0.0.1:34567`; `VM_QEMU_IMG` and `VM_CONSOLE` are set as well. `VM` is
the path of the program `vm`, which uses the machine: `"$VM" exec -- uname -a`. The
test's arguments (`--test_arg`) are its arguments. Without `exit_status` the
machine must run until the program ends; with it, the guest may end before.""",
            cfg = "target",
            executable = True,
        ),
        "time_limit": attr.int(
            doc = """\
seconds until the machine must have passed. The default, and the maximum, is
Bazel's `timeout` less the time for the report: a tenth of it, 2 to 15 s.
`--@rules_qcow2//qemu:time_limit_factor` multiplies the limits of all
machines.""",
        ),
        "vm": attr.label(providers = [QemuVmInfo]),
    },
    exec_groups = EXEC_GROUPS,
    test = True,
)
