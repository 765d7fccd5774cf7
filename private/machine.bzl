"""A virtual machine as attributes: qemu_vm's, and the inline form of the tests."""

load("//qemu:settings.bzl", "ValueInfo")
load("//qemu:toolchain.bzl", "ARCHITECTURES")
load(":agent.bzl", "PROVIDED_AGENTS")
load(":disk.bzl", "DISK_ATTRS", "machine_disks")
load(":providers.bzl", "vm_info")
load(":runner.bzl", "qemu_of", "rlocationpath", "target_name")
load(":size.bzl", "parse_size")

_MACHINES = {"aarch64": "virt", "x86_64": "q35"}

_MIB = 1024 * 1024

# FAT stores a volume label in 11 bytes.
_FILES_LABEL_LENGTH = 11
_SEED_LABEL = "CIDATA"
_FILES_LABEL_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

MACHINE_ATTRS = DISK_ATTRS | {
    "accel": attr.string(
        doc = """\
how the host runs the guest's processors: `"kvm"`, `"tcg"` (QEMU's emulation), or
`"auto"`. Auto is KVM if /dev/kvm can be opened, the processor has vmx or svm, and
guest and host have the same architecture; else TCG, which is several times slower.
`--@rules_qcow2//qemu:accel` overrides it for all machines.""",
        default = "auto",
        values = ["auto", "kvm", "tcg"],
    ),
    "agent": attr.string(
        doc = """\
how the agent gets into a Linux guest. The agent runs commands and copies files
there, for Go tests (`go/vm/vmtest`), the program `vm` in `run_while_up`, and
`bazel run :vm -- exec`. It needs no network and no change to the disk.
`"initrd"` puts it in front of the initrd, and requires `kernel`. `"systemd"` is
for guests with systemd 256 or newer, such as Debian 13, that boot from their
disk: it gives systemd a unit by SMBIOS. `"cloud-init"` is for guests with
cloud-init: the machine gets a NoCloud seed, which starts the agent and changes
no user, host name or ssh key. For these two the agent is on a read-only FAT
disk, a virtio disk after all others. `"installed"` means that the image has the
agent and starts it. `"none"` is a machine without it. The default, `"auto"`, is
`"initrd"` with `kernel`, and `"none"` without.""",
        default = "auto",
        values = ["auto", "cloud-init", "initrd", "installed", "none", "systemd"],
    ),
    "agent_channel": attr.string(
        doc = """\
how the host reaches the agent: `"virtio"`, a virtio-serial port, or `"serial"`,
the second serial port, for kernels without virtio_console. It transfers about
0.3 MB/s, virtio more than 100 MB/s. x86_64 only.""",
        default = "virtio",
        values = ["serial", "virtio"],
    ),
    # Set by the macros: see agent.bzl.
    "agent_program": attr.label(
        allow_single_file = True,
        cfg = "exec",
    ),
    "arch": attr.string(
        doc = "the guest's architecture, `\"x86_64\"` or `\"aarch64\"`. `qemu-system-<arch>` runs it.",
        default = "x86_64",
        values = ARCHITECTURES,
    ),
    "cpu_model": attr.string(
        doc = "one of `qemu-system-<arch> -cpu help`. `\"max\"` has all features that the accelerator supports, on x86_64 without `erms` and `fsrm` if that is TCG: they say that copying bytes is fast, which is not so there. `\"max,erms=on,fsrm=on\"` has them as well.",
        default = "max",
    ),
    "cpus": attr.int(
        doc = "number of processors. `qemu_boot_test` and `qemu_guest_test` reserve them on the host, and `memory`; a `go_test` or `sh_test` with machines needs the tags `cpu:<n>` and `resources:memory:<MiB>` for that.",
        default = 1,
    ),
    "display": attr.bool(
        doc = "whether the machine has a graphics adapter. The screenshot shows it.",
        default = True,
    ),
    "files": attr.label_list(
        doc = """\
files and folders that the guest sees, by their base names, on the first
partition of a read-only FAT disk: a virtio disk after `disks`, with the serial number
`files`. They are not copied. The limit is about 500 MB in total. Of an
executable target only the program is there, without its runfiles. A `qemu_snapshot` of
the machine is not supported.""",
        allow_files = True,
    ),
    "files_label": attr.string(
        doc = """\
volume label of the disk of `files`: at most 11 letters, digits, `-` and `_`.
`"CIDATA"` makes it a NoCloud seed for cloud-init, which excludes
`agent = "cloud-init"`.""",
        default = "FILES",
    ),
    "firmware": attr.string(
        doc = """\
`"bios"`, the machine's default firmware, or `"uefi"`: OVMF, with new variables
in each run. UEFI takes some seconds longer. On aarch64, a boot from a disk needs
UEFI.""",
        default = "bios",
        values = ["bios", "uefi"],
    ),
    "forward_ports": attr.string_list(
        doc = """\
guest ports that the host reaches on 127.0.0.1: `"tcp:22"` at a free port of the
host, `"tcp:2222:22"` at port 2222; `udp` likewise. Requires `network = "user"`.""",
    ),
    "initrd": attr.label(
        doc = "initial RAM disk of `kernel`.",
        allow_single_file = True,
    ),
    "kernel": attr.label(
        doc = "a kernel that QEMU loads itself, instead of booting from a disk.",
        allow_single_file = True,
    ),
    "kernel_args": attr.string_list(
        doc = "kernel command line, as in `[\"console=ttyS0\", \"panic=-1\"]`. Requires `kernel`.",
    ),
    "machine": attr.string(
        doc = "one of `qemu-system-<arch> -machine help`. The default is `\"q35\"`, and `\"virt\"` for aarch64.",
    ),
    "memory": attr.string(
        doc = """\
the guest's memory, a multiple of 1 MiB, as in `"1G"`. The host needs it for
each machine that runs at the same time.""",
        default = "256M",
    ),
    "network": attr.string(
        doc = """\
`"none"`, or `"user"`: QEMU's user network, from which the guest reaches every
address that the test may reach.""",
        default = "none",
        values = ["none", "user"],
    ),
    "qemu_args": attr.string_list(
        doc = "further arguments for QEMU, appended to its command line. `$(rootpath LABEL)` stands for the absolute path of a file in `qemu_data`, wherever the machine runs.",
    ),
    "qemu_data": attr.label_list(
        doc = "files that `qemu_args` name.",
        allow_files = True,
    ),
    "_accel_flag": attr.label(default = "//qemu:accel"),
    "_time_limit_factor_flag": attr.label(default = "//qemu:time_limit_factor"),
}

def machine(ctx):
    """Returns the machine that a rule's attributes describe.

    Args:
      ctx: the context of a rule with MACHINE_ATTRS.

    Returns:
      A QemuVmInfo.
    """
    disks = machine_disks(ctx, ctx.attr.machine, ctx.attr.arch)
    _check_boot(ctx, disks)
    if ctx.attr.cpus < 1:
        _fail(ctx, "cpus", ctx.attr.cpus, "must be at least 1")
    files = disks.files + ctx.files.files + ctx.files.qemu_data
    files += [file for file in [ctx.file.kernel, ctx.file.initrd] if file]
    agent, program = _agent(ctx)
    return vm_info(
        agent_runfiles = ctx.runfiles([program] if program else []),
        config = {
            "accel": ctx.attr._accel_flag[ValueInfo].value or ctx.attr.accel,
            "agent": agent,
            "agent_channel": ctx.attr.agent_channel,
            "agent_program": rlocationpath(ctx, program) if program else "",
            "arch": ctx.attr.arch,
            "cpu_model": ctx.attr.cpu_model,
            "cpus": ctx.attr.cpus,
            "disks": disks.config,
            "display": ctx.attr.display,
            "files": _files(ctx),
            "files_label": _files_label(ctx),
            "forward_ports": _forward_ports(ctx),
            "initrd": rlocationpath(ctx, ctx.file.initrd) if ctx.file.initrd else "",
            "kernel": rlocationpath(ctx, ctx.file.kernel) if ctx.file.kernel else "",
            "kernel_args": ctx.attr.kernel_args,
            "machine": ctx.attr.machine or _MACHINES[ctx.attr.arch],
            "memory": _memory(ctx),
            "network": ctx.attr.network,
            "qemu_args": [_argument(ctx, arg) for arg in ctx.attr.qemu_args],
            "target": target_name(ctx),
            "time_limit_factor": ctx.attr._time_limit_factor_flag[ValueInfo].value,
        },
        disks = disks.targets,
        runfiles = ctx.runfiles(files).merge_all(
            disks.runfiles + [target[DefaultInfo].default_runfiles for target in ctx.attr.qemu_data],
        ),
        uefi = ctx.attr.firmware == "uefi",
    )

def with_qemu(ctx, vm):
    """Adds QEMU to a machine: that of the platform that the target of ctx uses it on.

    So the target decides on QEMU and on the programs that run it, and not the machine.

    Args:
      ctx: the context of a rule with EXEC_GROUPS.
      vm: a QemuVmInfo.

    Returns:
      A struct with `config` and `runfiles`, as those of the machine, and `tools`, the
      programs of QEMU for an action.
    """
    qemu = qemu_of(ctx)
    system = qemu.systems.get(vm.arch)
    if not system:
        _fail(ctx, "arch", vm.arch, "needs qemu-system-%s; the QEMU toolchain provides %s; install that program, or set qemu_system_%s of the toolchain" % (vm.arch, ", ".join(["qemu-system-" + arch for arch in qemu.systems]) or "no emulator", vm.arch))
    uefi = None
    if vm.machine.uefi:
        uefi = qemu.uefi.get(vm.arch)
        if not uefi:
            _fail(ctx, "firmware", "uefi", "needs UEFI firmware for %s, which the QEMU toolchain does not provide; install OVMF (edk2), or set uefi_code_%s and uefi_vars_%s of the toolchain" % (vm.arch, vm.arch, vm.arch))
    programs = [system] + ([qemu.qemu_img] if qemu.qemu_img else [])
    files = [program.executable for program in programs] + ([uefi.code, uefi.vars] if uefi else [])
    return struct(
        config = vm.machine.config | {
            "data_dirs": [rlocationpath(ctx, file) for file in qemu.data_dirs],
            "qemu": rlocationpath(ctx, system.executable),
            "qemu_img": rlocationpath(ctx, qemu.qemu_img.executable) if qemu.qemu_img else "",
            "uefi_code": rlocationpath(ctx, uefi.code) if uefi else "",
            "uefi_vars": rlocationpath(ctx, uefi.vars) if uefi else "",
        },
        runfiles = ctx.runfiles(files).merge_all(
            [vm.runfiles, qemu.data_runfiles] + [program.runfiles for program in programs],
        ),
        tools = [program.files_to_run for program in programs],
    )

def _check_boot(ctx, disks):
    """Fails if the machine cannot boot."""
    kernel = ctx.file.kernel
    if not disks.config and not kernel:
        fail("%s: the machine has nothing to boot from; set disks or kernel" % ctx.label)
    if ctx.attr.initrd and not kernel:
        _fail(ctx, "initrd", str(ctx.attr.initrd.label), "requires kernel")
    if ctx.attr.kernel_args and not kernel:
        _fail(ctx, "kernel_args", ctx.attr.kernel_args, "requires kernel")
    if ctx.attr.arch == "aarch64" and not kernel and ctx.attr.firmware != "uefi":
        _fail(ctx, "arch", ctx.attr.arch, "does not have a BIOS to boot a disk with; set firmware = \"uefi\" or kernel")

def without_agent(config):
    """Returns the config of the same machine without the agent.

    A machine that resumes keeps it: the agent sets the clock.
    """
    if "snapshot" in config:
        return config
    return config | {"agent": "none", "agent_program": ""}

def _agent(ctx):
    """Returns how the agent gets into the guest, and its program if the host provides it."""
    agent = ctx.attr.agent
    if agent == "initrd" and not ctx.file.kernel:
        _fail(ctx, "agent", agent, "requires kernel")
    if ctx.attr.agent_channel == "serial" and ctx.attr.arch != "x86_64":
        _fail(ctx, "agent_channel", "serial", "is not supported by %s; use virtio" % ctx.attr.arch)
    if agent == "systemd":
        _check_smbios(ctx)
    if agent == "cloud-init" and ctx.attr.files and ctx.attr.files_label.upper() == _SEED_LABEL:
        _fail(ctx, "files_label", ctx.attr.files_label, "is the label of the seed that agent = \"cloud-init\" makes; set another label, or let the user-data in files start the agent and set agent = \"installed\"")
    if agent == "auto":
        agent = "initrd" if ctx.file.agent_program else "none"
    program = ctx.file.agent_program if agent in PROVIDED_AGENTS else None
    return agent, program

def _check_smbios(ctx):
    """Fails if the guest's firmware does not have SMBIOS tables."""
    if ctx.attr.machine.startswith("microvm"):
        _fail(ctx, "agent", "systemd", "is not supported by a microvm, for which QEMU does not make SMBIOS tables; use cloud-init, or initrd with kernel")
    if ctx.attr.arch == "aarch64" and ctx.attr.firmware != "uefi":
        _fail(ctx, "agent", "systemd", "requires firmware = \"uefi\" on aarch64, which does not have SMBIOS without it")

def _memory(ctx):
    given = ctx.attr.memory
    size, wrong = parse_size(given)
    if wrong:
        _fail(ctx, "memory", given, "is not a size: " + wrong)
    if size % _MIB or not size:
        _fail(ctx, "memory", given, "is %d bytes; it must be a multiple of 1M" % size)
    return "%dM" % (size // _MIB)

def _files(ctx):
    labels = {}
    for target in ctx.attr.files:
        for file in target[DefaultInfo].files.to_list():
            if file.basename in labels:
                _fail(ctx, "files", str(target.label), "has a file %s, and so has %s; each file needs its own name" % (file.basename, labels[file.basename]))
            labels[file.basename] = target.label
    return [{"name": file.basename, "path": rlocationpath(ctx, file)} for file in ctx.files.files]

def _files_label(ctx):
    label = ctx.attr.files_label
    if not label or len(label) > _FILES_LABEL_LENGTH or label.strip(_FILES_LABEL_CHARACTERS):
        _fail(ctx, "files_label", label, "is not a FAT volume label; use 1 to %d letters, digits, \"-\" and \"_\"" % _FILES_LABEL_LENGTH)
    return label

def _forward_ports(ctx):
    if ctx.attr.forward_ports and ctx.attr.network != "user":
        _fail(ctx, "forward_ports", ctx.attr.forward_ports, "requires network = \"user\"")
    for forward in ctx.attr.forward_ports:
        protocol, _, ports = forward.partition(":")
        ports = ports.split(":")
        if protocol not in ["tcp", "udp"] or len(ports) > 2 or [port for port in ports if not port.isdigit() or not 0 < int(port) or int(port) > 65535]:
            _fail(ctx, "forward_ports", forward, "must be \"tcp:22\", or \"tcp:2222:22\" for port 2222 of the host; udp likewise")
    return ctx.attr.forward_ports

# How a Make variable with the path of a file begins, in an argument.
_LOCATIONS = ["$(location ", "$(rootpath ", "$(rlocationpath "]

def _argument(ctx, argument):
    """Returns an argument for QEMU as text and rlocation paths in turn: a list."""
    for prefix in _LOCATIONS:
        argument = argument.replace(prefix, _LOCATIONS[0])
    text, parts = [], argument.split(_LOCATIONS[0])
    for i, part in enumerate(parts):
        if i == 0:
            text.append(part)
            continue
        label, end, rest = part.partition(")")
        if not end:
            _fail(ctx, "qemu_args", argument, "has a $(rootpath without a \")\"")
        text += [ctx.expand_location("$(rlocationpath %s)" % label, ctx.attr.qemu_data), rest]
    return text

def _fail(ctx, attribute, given, wrong):
    fail("%s: %s = %s %s" % (ctx.label, attribute, repr(given), wrong))
