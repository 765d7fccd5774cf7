"""The rule behind qemu_snapshot."""

load(":chain.bzl", "link_backing_chain")
load(":providers.bzl", "QemuVmInfo")
load(":runner.bzl", "EXEC_GROUP", "EXEC_GROUPS", "rlocationpath", "run", "target_name")
load(":size.bzl", "parse_size")

_MIB = 1024 * 1024

# More network cards than a test has networks.
_MAX_CARDS = 8

def _qemu_snapshot_impl(ctx):
    vm = ctx.attr.vm[QemuVmInfo]
    _check(ctx, vm)
    layers = []
    for i, disk in enumerate(vm.disks):
        image = ctx.actions.declare_file("%s.disk%d.qcow2" % (ctx.label.name, i))
        layers.append(struct(image = image, chain = link_backing_chain(ctx, image, disk)))
    outputs = {
        "fingerprint": _output(ctx, "fingerprint.json"),
        "ram": _output(ctx, "ram"),
        "state": _output(ctx, "state"),
    }
    if vm.config["uefi_code"]:
        outputs["uefi_vars"] = _output(ctx, "uefi-vars.fd")
    machine = vm.config | {
        "ready": {"command": ctx.attr.ready, "expect": ctx.attr.expect},
        "target": target_name(ctx),
    }
    _save(ctx, machine, outputs, layers)

    links = [link.file for layer in layers for link in layer.chain]
    images = [layer.image for layer in layers]
    files = outputs.values() + images + links
    resumed = machine | {"snapshot": {name: rlocationpath(ctx, file) for name, file in outputs.items()} | {
        "layers": [rlocationpath(ctx, image) for image in images],
        "on_mismatch": ctx.attr.on_mismatch,
    }}

    # A guest that resumes has read its initrd, with the agent in it.
    needs_agent = ctx.attr.on_mismatch == "boot" or vm.config["agent"] != "initrd"
    if ctx.attr.on_mismatch != "boot":
        resumed = resumed | {"initrd": ""}
    if not needs_agent:
        resumed = resumed | {"agent_program": ""}
    info = QemuVmInfo(
        agent_runfiles = vm.agent_runfiles if needs_agent else ctx.runfiles(),
        config = resumed,
        disks = vm.disks,
        runfiles = ctx.runfiles(files).merge(vm.runfiles),
    )
    default = run(ctx, resumed | {"interactive": True}, ".vm.json", [info.runfiles, info.agent_runfiles])
    return [
        default,
        info,
        OutputGroupInfo(snapshot = depset(outputs.values() + images)),
    ]

def _output(ctx, suffix):
    return ctx.actions.declare_file("%s.%s" % (ctx.label.name, suffix))

def _check(ctx, vm):
    """Fails if the machine cannot be saved."""
    config = vm.config
    if "snapshot" in config:
        fail("%s: vm = \"%s\" is a snapshot; a snapshot of it is not supported: use the qemu_vm and do all steps in ready" % (ctx.label, ctx.attr.vm.label))
    if ctx.attr.ready and config["agent"] == "none":
        fail("%s: ready = %r needs an agent in the guest, and %s does not have one; set its kernel or agent, or use expect" % (ctx.label, ctx.attr.ready, ctx.attr.vm.label))
    if not ctx.attr.expect and config["agent"] == "none":
        fail("%s: the build must know when the guest is ready, and %s does not have an agent to answer; set expect" % (ctx.label, ctx.attr.vm.label))
    for disk, target in zip(config["disks"], vm.disks):
        if disk["interface"] == "nvme":
            fail("%s: disk %s of %s is nvme, which QEMU cannot save; use virtio, scsi or ide" % (ctx.label, target.label, ctx.attr.vm.label))
    if ctx.attr.time_limit < 1:
        fail("%s: time_limit = %d must be at least 1 second" % (ctx.label, ctx.attr.time_limit))
    if ctx.attr.network_cards < 0 or ctx.attr.network_cards > _MAX_CARDS:
        fail("%s: network_cards = %d must be 0 to %d" % (ctx.label, ctx.attr.network_cards, _MAX_CARDS))

def _save(ctx, machine, outputs, layers):
    """Declares the action that boots the machine and saves it."""
    console = _output(ctx, "console.log")
    spec = _output(ctx, "save.json")
    ctx.actions.write(spec, json.encode_indent({
        "console": console.path,
        "fail_on": ctx.attr.fail_on,
        "layers": [{"backing": layer.chain[0].path, "path": layer.image.path} for layer in layers],
        "machine": machine,
        "network_cards": ctx.attr.network_cards,
        "snapshot": {name: file.path for name, file in outputs.items()},
        "time_limit": ctx.attr.time_limit,
    }, indent = "  ") + "\n")
    ctx.actions.run(
        arguments = ["save-for-build", spec.path],
        exec_group = EXEC_GROUP,
        executable = ctx.attr.vm[DefaultInfo].files_to_run,
        execution_requirements = {
            # The state must not depend on the network.
            "block-network": "1",
            "supports-graceful-termination": "1",
        },
        inputs = [spec] + [link.file for layer in layers for link in layer.chain],
        mnemonic = "QemuSnapshot",
        outputs = outputs.values() + [layer.image for layer in layers] + [console],
        progress_message = "Booting %s to save %%{label}" % ctx.attr.vm.label,
        resource_set = _resource_set(machine),
    )

def _resource_set(machine):
    """Returns the function that tells Bazel what the action needs."""
    size, _ = parse_size(machine["memory"])
    need = max(machine["cpus"], size // _MIB // 1024)
    for limit, resources in [(1, _small), (2, _medium), (4, _large)]:
        if need <= limit:
            return resources
    return _huge

# Bazel calls these by themselves, so they cannot have parameters of their own. Each
# has as many processors as GiB of memory.
def _small(_os, _inputs):
    return {"cpu": 1, "memory": 1024}

def _medium(_os, _inputs):
    return {"cpu": 2, "memory": 2048}

def _large(_os, _inputs):
    return {"cpu": 4, "memory": 4096}

def _huge(_os, _inputs):
    return {"cpu": 8, "memory": 8192}

qemu_snapshot = rule(
    implementation = _qemu_snapshot_impl,
    doc = "The rule behind the macro qemu_snapshot, which documents the attributes.",
    attrs = {
        "expect": attr.string_list(),
        "fail_on": attr.string_list(),
        "network_cards": attr.int(
            doc = """\
number of network cards, which are linked to nothing while the machine is saved. Go
tests link them to networks (`vm.On`).""",
        ),
        "on_mismatch": attr.string(
            doc = """\
what a test does if the machine cannot resume where it runs: `"fail"`, or `"boot"`,
which boots the machine and waits until it is ready. The test's log says so.""",
            default = "fail",
            values = ["boot", "fail"],
        ),
        "ready": attr.string(),
        "time_limit": attr.int(
            doc = "seconds until the guest must be ready.",
            default = 600,
        ),
        "vm": attr.label(
            executable = True,
            cfg = "target",
            mandatory = True,
            providers = [QemuVmInfo],
        ),
    },
    exec_groups = EXEC_GROUPS,
    executable = True,
    provides = [QemuVmInfo],
)
