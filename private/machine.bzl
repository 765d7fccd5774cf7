"""A virtual machine as attributes: what qemu_boot_test and qemu_vm have in common."""

load("//qemu:settings.bzl", "ValueInfo")
load("//qemu:toolchain.bzl", "ARCHITECTURES")
load(":providers.bzl", "Qcow2Info")
load(":runner.bzl", "exec_groups", "qemu_of", "rlocationpath", "run", "target_name")
load(":size.bzl", "parse_size")
load(":toolchain.bzl", "VMBOOT_TOOLCHAIN_TYPE")

_INTERFACES = ["ide", "nvme", "scsi", "virtio"]

_MACHINES = {"aarch64": "virt", "x86_64": "q35"}

_MIB = 1024 * 1024

MACHINE_ATTRS = {
    "accel": attr.string(
        doc = """\
what runs the guest's processors: `"kvm"`, `"tcg"` (QEMU's emulation), or
`"auto"`: KVM where /dev/kvm opens, the processor has vmx or svm, and the
guest's architecture is the machine's; else TCG, which is several times slower.
`--@rules_qcow2//qemu:accel` overrides it.""",
        default = "auto",
        values = ["auto", "kvm", "tcg"],
    ),
    "append": attr.string(
        doc = "command line of `kernel`.",
    ),
    "arch": attr.string(
        doc = "the guest's architecture, `\"x86_64\"` or `\"aarch64\"`: which `qemu-system-<arch>` runs it.",
        default = "x86_64",
        values = ARCHITECTURES,
    ),
    "cpu": attr.string(
        doc = "one of `qemu-system-<arch> -cpu help`. The default is all that the accelerator can do.",
        default = "max",
    ),
    "cpus": attr.int(
        doc = "how many processors. Bazel counts a test as one: with more, give it the tag `cpu:<n>`.",
        default = 1,
    ),
    "data": attr.label_list(
        doc = "files that `extra_args` name.",
        allow_files = True,
    ),
    "disks": attr.label_keyed_string_dict(allow_files = True),
    "display": attr.bool(
        doc = "whether there is a graphics adapter, which is what the screenshot is taken of.",
        default = True,
    ),
    "extra_args": attr.string_list(
        doc = "further arguments for QEMU, one each, with `$(rootpath)` for what is in `data`.",
    ),
    "files": attr.label_list(
        doc = """\
files and folders that the guest finds, by their base names, on the first
partition of a read-only FAT disk: the last virtio disk, with the serial number
`files`. At most some 500 MB altogether. They are not copied.""",
        allow_files = True,
    ),
    "firmware": attr.string(
        doc = """\
`"bios"`, which stands for what the machine has by itself, or `"uefi"`: OVMF,
each run with variables of its own. It takes some seconds longer.""",
        default = "bios",
        values = ["bios", "uefi"],
    ),
    "forward": attr.string_list(
        doc = """\
ports of the guest that the host reaches on 127.0.0.1: `"tcp:22"` at a free
port, `"tcp:2222:22"` at port 2222, and the same with `udp`. It needs
`network = "user"`.""",
    ),
    "initrd": attr.label(
        doc = "initial RAM disk of `kernel`.",
        allow_single_file = True,
    ),
    "kernel": attr.label(
        doc = "a kernel that QEMU loads by itself, in place of a boot from a disk. The default is none.",
        allow_single_file = True,
    ),
    "machine": attr.string(
        doc = "one of `qemu-system-<arch> -machine help`. The default is `\"q35\"`, for aarch64 `\"virt\"`.",
    ),
    "memory": attr.string(
        doc = """\
the guest's memory, a multiple of 1 MiB, as in `"1G"`. The host has to have it
for every machine that runs at the same time.""",
        default = "256M",
    ),
    "network": attr.string(
        doc = """\
`"none"`, or `"user"`: QEMU's own network, from which the guest reaches what
the test may reach.""",
        default = "none",
        values = ["none", "user"],
    ),
    "_accel_flag": attr.label(default = "//qemu:accel"),
}

MACHINE_EXEC_GROUPS = exec_groups(VMBOOT_TOOLCHAIN_TYPE)

def disks_dict(disks):
    """Returns disks as a dict of interfaces, for those who gave a list."""
    if type(disks) == "list":
        return {disk: "virtio" for disk in disks}
    return disks

def run_vm(ctx, config, programs = []):
    """Makes the target's executable: the runner, and the machine beside it.

    Args:
      ctx: the context of a rule with MACHINE_ATTRS.
      config: a dict with what is not part of the machine.
      programs: further targets whose runfiles the runner needs.

    Returns:
      The DefaultInfo.
    """
    machine, files, runfiles = _machine(ctx, qemu_of(ctx))
    runfiles += [target[DefaultInfo].default_runfiles for target in programs + ctx.attr.data]
    return run(ctx, VMBOOT_TOOLCHAIN_TYPE, machine | config, ".vm.json", files + ctx.files.data, runfiles)

def _machine(ctx, qemu):
    """Returns the machine as the runner reads it, its files, and its runfiles."""
    disks, files, runfiles = _disks(ctx)
    system = qemu.systems.get(ctx.attr.arch)
    if not system:
        _fail(ctx, "arch", ctx.attr.arch, "needs qemu-system-%s, which the QEMU toolchain has not; it has %s" % (ctx.attr.arch, ", ".join(["qemu-system-" + arch for arch in qemu.systems]) or "none"))
    runfiles += [system.runfiles, qemu.data_runfiles]
    files.append(system.executable)
    if qemu.qemu_img:
        runfiles.append(qemu.qemu_img.runfiles)
        files.append(qemu.qemu_img.executable)
    uefi = _uefi(ctx, qemu)
    if uefi:
        files += [uefi.code, uefi.vars]
    if not disks and not ctx.file.kernel:
        fail("%s: neither disks nor kernel is given, a machine boots from one of them" % ctx.label)
    for attribute, given in [("initrd", ctx.file.initrd and str(ctx.attr.initrd.label)), ("append", ctx.attr.append)]:
        if given and not ctx.file.kernel:
            _fail(ctx, attribute, given, "goes to a kernel, and none is given")
    if ctx.attr.cpus < 1:
        _fail(ctx, "cpus", ctx.attr.cpus, "is not enough, allowed are 1 and more")
    files += [file for file in [ctx.file.kernel, ctx.file.initrd] if file] + ctx.files.files
    return {
        "accel": ctx.attr._accel_flag[ValueInfo].value or ctx.attr.accel,
        "kernel_args": [ctx.attr.append] if ctx.attr.append else [],
        "arch": ctx.attr.arch,
        "qemu_args": [ctx.expand_location(arg, ctx.attr.data) for arg in ctx.attr.extra_args],
        "cpu_model": ctx.attr.cpu,
        "cpus": ctx.attr.cpus,
        "data_dirs": [rlocationpath(ctx, file) for file in qemu.data],
        "disks": disks,
        "display": ctx.attr.display,
        "files": _files(ctx),
        "forward_ports": _forward(ctx),
        "initrd": rlocationpath(ctx, ctx.file.initrd) if ctx.file.initrd else "",
        "kernel": rlocationpath(ctx, ctx.file.kernel) if ctx.file.kernel else "",
        "machine": ctx.attr.machine or _MACHINES[ctx.attr.arch],
        "memory": _memory(ctx),
        "network": ctx.attr.network,
        "qemu": rlocationpath(ctx, system.executable),
        "qemu_img": rlocationpath(ctx, qemu.qemu_img.executable) if qemu.qemu_img else "",
        "target": target_name(ctx),
        "uefi_code": rlocationpath(ctx, uefi.code) if uefi else "",
        "uefi_vars": rlocationpath(ctx, uefi.vars) if uefi else "",
    }, files, runfiles

def _disks(ctx):
    disks, files, runfiles = [], [], []
    for target, value in ctx.attr.disks.items():
        images = target[DefaultInfo].files.to_list()
        if len(images) != 1:
            _fail(ctx, "disks", str(target.label), "is %d files, allowed is one image" % len(images))
        if images[0].is_directory:
            _fail(ctx, "disks", str(target.label), "is a directory, allowed is one image")
        interface, _, properties = value.partition(",")
        if interface not in _INTERFACES:
            _fail(ctx, "disks", value, "is no interface for %s, allowed are %s" % (target.label, ", ".join(_INTERFACES)))
        if ctx.attr.machine.startswith("microvm") and interface != "virtio":
            _fail(ctx, "disks", value, "is no interface that a microvm has, allowed is virtio")
        disks.append({
            "format": target[Qcow2Info].format if Qcow2Info in target else "",
            "interface": interface,
            "serial": properties.removeprefix("serial="),
            "path": rlocationpath(ctx, images[0]),
        })
        files += images
        runfiles.append(target[DefaultInfo].default_runfiles)
    return disks, files, runfiles

def _uefi(ctx, qemu):
    if ctx.attr.firmware != "uefi":
        return None
    if ctx.attr.arch not in qemu.uefi:
        _fail(ctx, "firmware", "uefi", "needs UEFI firmware for %s, which the QEMU toolchain has not: install OVMF (edk2), or name it with uefi_code_%s and uefi_vars_%s" % (ctx.attr.arch, ctx.attr.arch, ctx.attr.arch))
    return qemu.uefi[ctx.attr.arch]

def _memory(ctx):
    given = ctx.attr.memory
    size, wrong = parse_size(given)
    if wrong:
        _fail(ctx, "memory", given, "is no size: " + wrong)
    if size % _MIB or not size:
        _fail(ctx, "memory", given, "is %d bytes, allowed are multiples of 1M" % size)
    return "%dM" % (size // _MIB)

def _files(ctx):
    labels = {}
    for target in ctx.attr.files:
        for file in target[DefaultInfo].files.to_list():
            if file.basename in labels:
                _fail(ctx, "files", str(target.label), "has a %s, and so has %s: allowed is one file of a name" % (file.basename, labels[file.basename]))
            labels[file.basename] = target.label
    return [{"name": file.basename, "path": rlocationpath(ctx, file)} for file in ctx.files.files]

def _forward(ctx):
    if ctx.attr.forward and ctx.attr.network != "user":
        _fail(ctx, "forward", ctx.attr.forward, "needs network = \"user\"")
    for forward in ctx.attr.forward:
        protocol, _, ports = forward.partition(":")
        ports = ports.split(":")
        if protocol not in ["tcp", "udp"] or len(ports) > 2 or [port for port in ports if not port.isdigit() or not 0 < int(port) or int(port) > 65535]:
            _fail(ctx, "forward", forward, "is no port to forward, allowed are \"tcp:22\", or \"tcp:2222:22\" for port 2222 of the host, and the same with udp")
    return ctx.attr.forward

def _fail(ctx, attribute, given, wrong):
    fail("%s: %s = %s %s" % (ctx.label, attribute, repr(given), wrong))
