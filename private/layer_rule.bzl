"""The rule behind qcow2_layer."""

load(":action.bzl", "BOOT_FOR_BUILD_ATTRS", "boot_for_build", "check_without_agent", "layer_spec", "link_disks", "machine_with_disks")
load(":image_target.bzl", "image_providers")
load(":providers.bzl", "Qcow2Info", "QemuVmInfo")
load(":runner.bzl", "EXEC_GROUPS", "display", "qemu_of", "target_name")
load(":size.bzl", "parse_size")
load(":toolchain.bzl", "QCOW2GEN_TOOLCHAIN_TYPE")

# With this tag, Bazel lets an action reach the network.
_NETWORK_TAG = "requires-network"

# Modes of copies, as numbers.
_PROGRAM_MODE = 7 * 64 + 5 * 8 + 5
_FILE_MODE = 6 * 64 + 4 * 8 + 4

def _qcow2_layer_impl(ctx):
    vm = machine_with_disks(ctx, ctx.attr.vm[QemuVmInfo])
    _check(ctx, vm)
    has_agent = vm.machine.config["agent"] != "none"
    files = _files(ctx, has_agent)
    steps = _steps(ctx, has_agent)
    image = ctx.actions.declare_file(ctx.label.name + ".qcow2")
    metadata = ctx.actions.declare_file(image.basename + ".json", sibling = image)
    log = ctx.actions.declare_file(ctx.label.name + ".log")
    chains = link_disks(ctx, vm, [image])
    console = boot_for_build(
        ctx,
        "layer-for-build",
        {
            "exit_status": ctx.attr.exit_status,
            "files": files.config,
            "layer": layer_spec(image, chains[0]),
            "log": log.path,
            "max_size": _max_size(ctx),
            "metadata": metadata.path,
            "seal": _seal(ctx, has_agent),
            "steps": steps.config,
        },
        vm = vm,
        machine = _machine(ctx, vm),
        chains = chains,
        inputs = files.inputs + steps.inputs,
        outputs = [image, metadata, log],
        network = ctx.attr.network == "user",
        mnemonic = "Qcow2Layer",
        progress_message = "Booting %s to write %%{label}" % display(ctx.attr.vm.label),
    )
    return image_providers(ctx, image, metadata, chains[0], logs = depset([log, console]))

def _check(ctx, vm):
    """Fails if the machine cannot write a layer."""
    config = vm.machine.config
    machine = ctx.attr.vm.label
    if "snapshot" in config:
        fail("%s: vm = \"%s\" is a snapshot, which cannot write a layer; use its qemu_vm as vm" % (ctx.label, machine))
    if not vm.machine.disks:
        fail("%s: %s does not have a disk to write to; set disks" % (ctx.label, machine))
    if config["disks"][0]["read_only"]:
        fail("%s: the first disk of %s is read_only, so the guest cannot write a layer on it; set disks, the first without read_only" % (ctx.label, machine))
    if not qemu_of(ctx).qemu_img:
        fail("%s: a layer needs qemu-img, which the QEMU toolchain does not provide; set its qemu_img" % ctx.label)
    if ctx.attr.network == "user" and _NETWORK_TAG not in ctx.attr.tags:
        fail("%s: network = \"user\" needs tags = [\"%s\"], because the guest's downloads are not inputs of the build" % (ctx.label, _NETWORK_TAG))
    if config["agent"] == "none":
        check_without_agent(ctx, {"ready": ctx.attr.ready, "run": ctx.attr.run, "seal": ctx.attr.seal == 1})
    elif ctx.attr.exit_status != 0:
        fail("%s: exit_status = %d is for guests without an agent, and this agent powers the guest off; omit it" % (ctx.label, ctx.attr.exit_status))

def _machine(ctx, vm):
    """Returns what is different in the machine that writes: a dict for its config."""
    config = vm.machine.config
    exit_status = ctx.attr.exit_status
    if exit_status != 0 and (config["arch"] != "x86_64" or exit_status < 0 or exit_status > 255 or exit_status % 2 == 0):
        fail("%s: exit_status = %d must be 0 or, on x86_64, an odd number up to 255" % (ctx.label, exit_status))
    return {
        "debug_exit": exit_status != 0,
        "forward_ports": [],
        "network": ctx.attr.network,
        "qemu_args": config["qemu_args"] + ([["-rtc"], ["base=%s" % ctx.attr.clock]] if ctx.attr.clock else []),
        "ready": {"command": ctx.attr.ready, "expect": ctx.attr.expect},
        "target": target_name(ctx),
    }

def _files(ctx, has_agent):
    """Returns the files for the guest, for the runner and as inputs."""
    config, inputs = [], []
    for target, value in ctx.attr.files.items():
        given = json.decode(value) if value.startswith("{") else {"mode": "", "owner": "", "path": value, "unpack": False}
        program = _program(target)
        files = [program] if program else target[DefaultInfo].files.to_list()
        path = given["path"]
        _check_path(ctx, target.label, path, has_agent)
        if given["unpack"] and (given["mode"] or given["owner"]):
            fail("%s: files: %s: unpack excludes mode and owner, which the archive has" % (ctx.label, target.label))
        if len(files) != 1 and (given["unpack"] or not path.endswith("/")):
            fail("%s: files: %s has %d files; %s must be a folder and end with \"/\"" % (ctx.label, target.label, len(files), path))
        for file in files:
            config.append({
                "mode": _mode(ctx, target, file, given["mode"], file == program),
                "owner": given["owner"],
                "path": file.path,
                "to": path + file.basename if path.endswith("/") and not given["unpack"] else path,
                "unpack": given["unpack"],
            })
        inputs += files
    seen = {}
    for file in config:
        if file["to"] in seen and not file["unpack"]:
            fail("%s: files: %s and %s have the same place in the guest, %s" % (ctx.label, seen[file["to"]], file["path"], file["to"]))
        seen[file["to"]] = file["path"]
    return struct(config = config, inputs = inputs)

def _check_path(ctx, label, path, has_agent):
    if has_agent and (not path.startswith("/") or path == "/"):
        fail("%s: files: %s goes to %s; the path in the guest must be absolute and not /" % (ctx.label, label, repr(path)))
    if not has_agent and ("/" in path or not path):
        fail("%s: files: %s goes to %s; %s does not have an agent, so this must be a file name on the FAT disk, without \"/\"" % (ctx.label, label, repr(path), ctx.attr.vm.label))

def _program(target):
    """Returns the executable of a target, None if it does not have one."""
    program = target[DefaultInfo].files_to_run.executable if target[DefaultInfo].files_to_run else None

    # For a source file, Bazel returns the file itself as its executable, with any mode.
    return program if program and not program.is_source else None

def _mode(ctx, target, file, given, is_program):
    """Returns the mode of a copy as a number. 0 keeps the modes of the files in a folder."""
    if given:
        mode = int(given, 8) if given.strip("01234567") == "" else -1
        if mode <= 0 or mode > 7 * 64 + 7 * 8 + 7:
            fail("%s: files: %s: mode = \"%s\" must be octal and at most 0777, as in \"0644\"; for other bits, use chmod in run" % (ctx.label, target.label, given))
        return mode
    if file.is_directory:
        return 0
    return _PROGRAM_MODE if is_program else _FILE_MODE

def _steps(ctx, has_agent):
    """Returns the steps, for the runner and as inputs."""
    scripts = {name: target for target, name in ctx.attr.scripts.items()}
    config, inputs = [], []
    for step in ctx.attr.run if has_agent else []:
        script = ""
        if step in scripts:
            target = scripts[step]
            files = target[DefaultInfo].files.to_list()
            program = _program(target)
            if not program and len(files) != 1:
                fail("%s: run: %s has %d files; it must be a program or one file" % (ctx.label, target.label, len(files)))
            program = program or files[0]
            script = program.path
            inputs.append(program)
        config.append({"line": step.removeprefix("@@") if script else step, "script": script})
    return struct(config = config, inputs = inputs)

def _seal(ctx, has_agent):
    return has_agent if ctx.attr.seal == -1 else ctx.attr.seal == 1

def _max_size(ctx):
    given = ctx.attr.max_size
    if not given:
        return 0
    size, wrong = parse_size(given)
    if wrong:
        fail("%s: max_size = %s is not a size: %s" % (ctx.label, repr(given), wrong))
    return size

qcow2_layer = rule(
    implementation = _qcow2_layer_impl,
    doc = "The rule behind the macro qcow2_layer, which documents the attributes.",
    attrs = BOOT_FOR_BUILD_ATTRS | {
        "clock": attr.string(
            doc = """\
the date and time that the guest's clock starts with, in UTC, as in
`"2026-01-01T00:00:00"`. Files that the guest makes then have times near it. The default
is the present time.""",
        ),
        "exit_status": attr.int(),
        "files": attr.label_keyed_string_dict(allow_files = True),
        "max_size": attr.string(
            doc = """\
the largest size of the image file, as in `"100M"`. A larger one fails the build. The
build prints the size.""",
        ),
        "network": attr.string(
            doc = """\
`"none"`, or `"user"`: QEMU's user network, for guests that download something. It
requires `tags = ["requires-network"]`, and makes the layer depend on the state
of the network during the build. `network` and `forward_ports` of `vm` are ignored.""",
            default = "none",
            values = ["none", "user"],
        ),
        "run": attr.string_list(),
        # The labels among `run`, each with its string there.
        "scripts": attr.label_keyed_string_dict(allow_files = True),
        # 1, 0, or -1 for the default.
        "seal": attr.int(default = -1),
        "time_limit": attr.int(
            doc = "seconds until the guest must have powered off, times `--@rules_qcow2//qemu:time_limit_factor`.",
            default = 1800,
        ),
    },
    exec_groups = EXEC_GROUPS,
    provides = [Qcow2Info],
    toolchains = [QCOW2GEN_TOOLCHAIN_TYPE],
)
