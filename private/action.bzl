"""Build actions that boot a machine."""

load(":chain.bzl", "link_chain")
load(":disk.bzl", "DISK_ATTRS", "machine_disks")
load(":machine.bzl", "with_qemu")
load(":providers.bzl", "QemuVmInfo", "vm_info")
load(":runner.bzl", "EXEC_GROUP", "list_paths", "programs_of")
load(":size.bzl", "parse_size")

_GIB = 1024 * 1024 * 1024

# Attributes of rules whose build boots a machine. The rules also have time_limit.
BOOT_FOR_BUILD_ATTRS = DISK_ATTRS | {
    "expect": attr.string_list(),
    "fail_on": attr.string_list(),
    "ready": attr.string(),
    "vm": attr.label(
        mandatory = True,
        providers = [QemuVmInfo],
    ),
}

def check_without_agent(ctx, attributes):
    """Fails if an attribute is set that needs an agent in the guest.

    Args:
      ctx: the context of a rule with `vm`.
      attributes: a dict of names to values that are true if the attribute is set.
    """
    for name, given in attributes.items():
        if given:
            fail("%s: %s needs an agent in the guest, and %s does not have one; set its kernel or agent" % (ctx.label, name, ctx.attr.vm.label))

def machine_with_disks(ctx, vm):
    """Returns the machine of the attribute vm, with the rule's own disks if it has any.

    Args:
      ctx: the context of a rule with BOOT_FOR_BUILD_ATTRS.
      vm: the QemuVmInfo of `vm`.

    Returns:
      A QemuVmInfo.
    """
    if not ctx.attr.disks:
        return vm
    if "snapshot" in vm.machine.config:
        fail("%s: disks cannot be set with vm = \"%s\", a snapshot, which resumes with the disks that it was saved with; set disks of the qemu_snapshot, or use its qemu_vm as vm" % (ctx.label, ctx.attr.vm.label))
    disks = machine_disks(ctx, vm.machine.config["machine"], vm.machine.config["arch"])
    return vm_info(
        agent_runfiles = vm.machine.agent_runfiles,
        config = vm.machine.config | {"disks": disks.config},
        disks = disks.targets,
        runfiles = ctx.runfiles(disks.files).merge_all([vm.runfiles] + disks.runfiles),
        uefi = vm.machine.uefi,
    )

def link_disks(ctx, vm, images):
    """Lays out links to the disks of a machine, by which a build action opens them.

    Args:
      ctx: the context of the rule.
      vm: a QemuVmInfo.
      images: a list of outputs, the layers on the first disks.

    Returns:
      A list with the `chain` of a Qcow2Info for each disk. Those of `images` are in the
      places where these have their backing files.
    """
    chains = []
    for i, disk in enumerate(vm.machine.disks):
        if i < len(images):
            chains.append(link_chain(ctx, images[i].basename + ".backing/", disk, sibling = images[i]))
        else:
            chains.append(link_chain(ctx, "%s.disk%d/" % (ctx.label.name, i), disk))
    return chains

def layer_spec(image, chain):
    """Returns a layer for the JSON file of a build action."""
    return {"backing": chain[0].path, "path": image.path}

def boot_for_build(ctx, command, spec, vm, machine, chains, inputs, outputs, transitive_inputs = [], network = False, **kwargs):
    """Declares a build action that boots a machine.

    Args:
      ctx: the context of a rule with EXEC_GROUPS, BOOT_FOR_BUILD_ATTRS and `time_limit`.
      command: the runner's first argument.
      spec: the content of the runner's JSON file besides the machine: a dict.
      vm: the machine: a QemuVmInfo.
      machine: what is different in its config: a dict.
      chains: the result of link_disks.
      inputs: a list of files.
      transitive_inputs: a list of depsets of files.
      outputs: a list of files.
      network: whether the action reaches the network.
      **kwargs: further arguments of ctx.actions.run.

    Returns:
      The console's log, an output.
    """
    if ctx.attr.time_limit < 1:
        fail("%s: time_limit = %d must be at least 1 second" % (ctx.label, ctx.attr.time_limit))
    equipped = with_qemu(ctx, vm)
    machine = equipped.config | machine
    files = equipped.runfiles.merge(vm.machine.agent_runfiles)
    paths = ctx.actions.declare_file("%s.%s.paths.txt" % (ctx.label.name, command))
    list_paths(ctx, paths, files)
    console = ctx.actions.declare_file(ctx.label.name + ".console.log")
    spec_file = ctx.actions.declare_file("%s.%s.json" % (ctx.label.name, command))
    ctx.actions.write(spec_file, json.encode_indent(spec | {
        "console": console.path,
        "disks": [chain[0].file.path for chain in chains],
        "fail_on": ctx.attr.fail_on,
        "machine": machine,
        "paths": paths.path,
        "time_limit": ctx.attr.time_limit,
    }, indent = "  ") + "\n")
    ctx.actions.run(
        arguments = [command, spec_file.path],
        exec_group = EXEC_GROUP,
        executable = programs_of(ctx).vmboot.files_to_run,
        execution_requirements = {
            "requires-network" if network else "block-network": "1",
            "supports-graceful-termination": "1",
        },
        inputs = depset([spec_file, paths] + inputs + [link.file for chain in chains for link in chain], transitive = [files.files] + transitive_inputs),
        outputs = outputs + [console],
        resource_set = resource_set(machine),
        tools = equipped.tools,
        **kwargs
    )
    return console

def resource_set(machine):
    """Returns the function that tells Bazel the resources of an action with a machine.

    Args:
      machine: the machine's config: a dict.

    Returns:
      A value for the parameter `resource_set` of `ctx.actions.run`.
    """
    size, _ = parse_size(machine["memory"])
    need = max(machine["cpus"], (size + _GIB - 1) // _GIB)
    for limit, resources in [(1, _up_to_1), (2, _up_to_2), (4, _up_to_4), (8, _up_to_8), (16, _up_to_16), (32, _up_to_32)]:
        if need <= limit:
            return resources
    return _up_to_64

# Bazel calls these without the context of the rule, so they cannot have further
# parameters. Each has as many processors as GiB of memory.
def _up_to_1(_os, _inputs):
    return {"cpu": 1, "memory": 1024}

def _up_to_2(_os, _inputs):
    return {"cpu": 2, "memory": 2048}

def _up_to_4(_os, _inputs):
    return {"cpu": 4, "memory": 4096}

def _up_to_8(_os, _inputs):
    return {"cpu": 8, "memory": 8192}

def _up_to_16(_os, _inputs):
    return {"cpu": 16, "memory": 16384}

def _up_to_32(_os, _inputs):
    return {"cpu": 32, "memory": 32768}

def _up_to_64(_os, _inputs):
    return {"cpu": 64, "memory": 65536}
