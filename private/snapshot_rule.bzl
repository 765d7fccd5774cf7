"""The rule behind qemu_snapshot."""

load(":action.bzl", "BOOT_FOR_BUILD_ATTRS", "boot_for_build", "check_without_agent", "layer_spec", "link_disks", "machine_with_disks")
load(":machine.bzl", "with_qemu")
load(":providers.bzl", "QemuVmInfo", "vm_info")
load(":runner.bzl", "EXEC_GROUP", "EXEC_GROUPS", "display", "programs_of", "rlocationpath", "run", "target_name")

# More network cards than a test has networks.
_MAX_CARDS = 8

def _qemu_snapshot_impl(ctx):
    vm = machine_with_disks(ctx, ctx.attr.vm[QemuVmInfo])
    _check(ctx, vm)
    images = [_output(ctx, "disk%d.qcow2" % i) for i in range(len(vm.machine.disks))]
    chains = link_disks(ctx, vm, images)
    packed_ram = _output(ctx, "ram.qcow2")
    ram = _output(ctx, "ram")
    saved = {
        "fingerprint": _output(ctx, "fingerprint.json"),
        "ram": packed_ram,
        "state": _output(ctx, "state"),
    }
    if vm.machine.uefi:
        saved["uefi_vars"] = _output(ctx, "uefi-vars.fd")
    machine = {
        "ready": {"command": ctx.attr.ready, "expect": ctx.attr.expect},
        "target": target_name(ctx),
    }
    runfiles = _runfiles(ctx)
    boot_for_build(
        ctx,
        "save-for-build",
        {
            "layers": [layer_spec(image, chain) for image, chain in zip(images, chains)],
            "network_cards": ctx.attr.network_cards,
            "runfiles": runfiles.list.path if runfiles else "",
            "snapshot": {name: file.path for name, file in saved.items()},
        },
        vm = vm,
        machine = machine,
        chains = chains,
        inputs = [runfiles.list] if runfiles else [],
        outputs = saved.values() + images,
        transitive_inputs = [runfiles.files] if runfiles else [],
        mnemonic = "QemuSnapshot",
        progress_message = "Booting %s to save %%{label}" % display(ctx.attr.vm.label),
    )

    _unpack_ram(ctx, ram, packed_ram)

    links = [link.file for chain in chains for link in chain]
    outputs = saved | {"ram": ram}
    files = outputs.values() + images + links
    resumed = vm.machine.config | machine | {"snapshot": {name: rlocationpath(ctx, file) for name, file in outputs.items()} | {
        "layers": [rlocationpath(ctx, image) for image in images],
        "after_resume": ctx.attr.after_resume,
        "on_mismatch": ctx.attr.on_mismatch,
        "runfiles": bool(runfiles),
    }}
    info = vm_info(
        agent_runfiles = vm.machine.agent_runfiles,
        config = resumed,
        disks = vm.machine.disks,
        runfiles = ctx.runfiles(files).merge(vm.runfiles),
        uefi = vm.machine.uefi,
    )
    equipped = with_qemu(ctx, info)
    default = run(ctx, programs_of(ctx).vmboot, {"interactive": True, "machine": equipped.config}, ".vm.json", [equipped.runfiles, info.machine.agent_runfiles])
    return [
        default,
        info,
        OutputGroupInfo(snapshot = depset(outputs.values() + images + [packed_ram])),
    ]

def _output(ctx, suffix):
    return ctx.actions.declare_file("%s.%s" % (ctx.label.name, suffix))

def _unpack_ram(ctx, ram, packed):
    """Declares the action that writes the file with the RAM that QEMU maps.

    Caches do not preserve sparse files, so only its input is cached.

    Args:
      ctx: the context of the rule.
      ram: the output.
      packed: the qcow2 image with the RAM.
    """
    ctx.actions.run(
        arguments = ["unpack-for-build", packed.path, ram.path],
        exec_group = EXEC_GROUP,
        executable = programs_of(ctx).vmboot.files_to_run,
        execution_requirements = {"no-cache": "1"},
        inputs = [packed],
        mnemonic = "QemuSnapshotRAM",
        outputs = [ram],
        progress_message = "Unpacking the RAM of %{label}",
    )

def _runfiles(ctx):
    """Returns the files of the attribute runfiles and a list of them, or None."""
    if not ctx.attr.runfiles:
        return None
    files = depset(transitive = [target[DefaultInfo].files for target in ctx.attr.runfiles] + [target[DefaultInfo].default_runfiles.files for target in ctx.attr.runfiles])
    list_file = _output(ctx, "runfiles-for-build.txt")
    lines = ctx.actions.args()
    lines.set_param_file_format("multiline")
    lines.add_all(files, expand_directories = False)
    ctx.actions.write(list_file, lines)
    return struct(files = files, list = list_file)

def _check(ctx, vm):
    """Fails if the machine cannot be saved."""
    config = vm.machine.config
    if "snapshot" in config:
        fail("%s: vm = \"%s\" is a snapshot; a snapshot of it is not supported: use the qemu_vm and do all steps in ready" % (ctx.label, ctx.attr.vm.label))
    if config["agent"] == "none":
        check_without_agent(ctx, {name: getattr(ctx.attr, name) for name in ["after_resume", "ready", "runfiles"]})
        if not ctx.attr.expect:
            fail("%s: the build must know when the guest is ready, and %s does not have an agent to answer; set expect" % (ctx.label, ctx.attr.vm.label))
    for disk, target in zip(config["disks"], vm.machine.disks):
        if disk["interface"] == "nvme":
            fail("%s: disk %s of %s is nvme, which QEMU cannot save; use virtio, scsi or ide" % (ctx.label, target.label, ctx.attr.vm.label))
    if config["files"]:
        fail("%s: %s has files, a disk whose layout differs from host to host, so a machine that resumes would read other data; copy them into the guest by its agent, or put them on an image in disks, such as a qcow2_layer" % (ctx.label, ctx.attr.vm.label))
    if ctx.attr.network_cards < 0 or ctx.attr.network_cards > _MAX_CARDS:
        fail("%s: network_cards = %d must be 0 to %d" % (ctx.label, ctx.attr.network_cards, _MAX_CARDS))

qemu_snapshot = rule(
    implementation = _qemu_snapshot_impl,
    doc = "The rule behind the macro qemu_snapshot, which documents the attributes.",
    attrs = BOOT_FOR_BUILD_ATTRS | {
        "after_resume": attr.string(
            doc = """\
a line for the guest's shell that runs once in each machine that resumes, after the clock
and the random numbers are set and before anything else. If it fails, the start of the
machine fails. Use it for state that the ruleset cannot renew, such as that of a program that
has drawn random numbers.""",
        ),
        "network_cards": attr.int(
            doc = """\
number of network cards, at most 8. They are not connected while the machine is saved;
Go tests connect them to networks (`vmtest.WithNetwork`).""",
        ),
        "on_mismatch": attr.string(
            doc = """\
behavior of a test where the machine cannot resume: `"fail"`, or `"boot"`, which boots
the machine and waits until it is ready. `qemu.log` says so.""",
            default = "fail",
            values = ["boot", "fail"],
        ),
        "runfiles": attr.label_list(
            doc = """\
files that a `qemu_guest_test` on this snapshot need not copy to the guest: those of these
targets and their runfiles, by content. It is for large files that seldom change: if one
changes, the snapshot is built again.""",
            allow_files = True,
        ),
        "time_limit": attr.int(
            doc = "seconds until the guest must be ready, times `--@rules_qcow2//qemu:time_limit_factor`.",
            default = 600,
        ),
    },
    exec_groups = EXEC_GROUPS,
    executable = True,
    provides = [QemuVmInfo],
)
