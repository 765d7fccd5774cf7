"""The rule behind qemu_vm."""

load(":machine.bzl", "MACHINE_ATTRS", "machine", "with_qemu")
load(":providers.bzl", "QemuVmInfo")
load(":runner.bzl", "EXEC_GROUPS", "programs_of", "run")

def _qemu_vm_impl(ctx):
    vm = machine(ctx)
    equipped = with_qemu(ctx, vm)
    return [
        run(ctx, programs_of(ctx).vmboot, {"interactive": True, "machine": equipped.config}, ".vm.json", [equipped.runfiles, vm.machine.agent_runfiles]),
        vm,
    ]

qemu_vm = rule(
    implementation = _qemu_vm_impl,
    doc = "The rule behind the macro qemu_vm, which documents the attributes.",
    attrs = MACHINE_ATTRS,
    exec_groups = EXEC_GROUPS,
    executable = True,
    provides = [QemuVmInfo],
)
