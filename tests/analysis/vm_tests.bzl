"""Analysis tests of virtual machines."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//:defs.bzl", "disk_options", "guest_path", "qcow2_check_test", "qcow2_layer", "qemu_boot_test", "qemu_guest_test", "qemu_snapshot", "qemu_toolchain", "qemu_vm", "vmboot_toolchain")

_EXTRA_TOOLCHAINS = "//command_line_option:extra_toolchains"

# Toolchains that provide only the parts in their names.
_AARCH64 = {_EXTRA_TOOLCHAINS: str(Label("//tests/analysis:aarch64_toolchain"))}
_SYSTEM_ONLY = {_EXTRA_TOOLCHAINS: str(Label("//tests/analysis:system_only_toolchain"))}
_WITH_QEMU_IMG = {_EXTRA_TOOLCHAINS: str(Label("//tests/analysis:with_qemu_img_toolchain"))}
_WITH_UEFI = {_EXTRA_TOOLCHAINS: str(Label("//tests/analysis:with_uefi_toolchain"))}

def _failure_test_impl(ctx):
    env = analysistest.begin(ctx)
    asserts.expect_failure(env, ctx.attr.message)
    return analysistest.end(env)

def _make_failure_test(settings):
    return analysistest.make(
        _failure_test_impl,
        attrs = {"message": attr.string()},
        config_settings = settings,
        expect_failure = True,
    )

_failure_test = _make_failure_test(_SYSTEM_ONLY)
_aarch64_failure_test = _make_failure_test(_AARCH64)
_qemu_img_failure_test = _make_failure_test(_WITH_QEMU_IMG)

# The runner's JSON file.
def _config_test_impl(ctx):
    env = analysistest.begin(ctx)
    configs = [
        json.decode(action.content)
        for action in analysistest.target_actions(env)
        if action.mnemonic == "FileWrite" and action.outputs.to_list()[0].basename.endswith(".vm.json")
    ]
    asserts.equals(env, 1, len(configs), "number of configs")
    machine = configs[0]["machine"]
    want = json.decode(ctx.attr.config)
    have = configs[0] | machine
    asserts.equals(env, want, {key: have[key] for key in want})

    # Bazel reserves what the machine takes.
    asserts.equals(
        env,
        {"cpu:%d" % machine["cpus"]: "", "resources:memory:" + machine["memory"].removesuffix("M"): ""},
        analysistest.target_under_test(env)[testing.ExecutionInfo].requirements,
    )

    # All files that it names are runfiles.
    runfiles = {
        file.short_path.removeprefix("../"): None
        for file in analysistest.target_under_test(env)[DefaultInfo].default_runfiles.files.to_list()
    }
    named = [disk["path"] for disk in machine["disks"]] + [machine[key] for key in ["agent_program", "kernel", "initrd", "qemu", "uefi_code", "uefi_vars"]]
    for path in named:
        path = path.removeprefix(ctx.workspace_name + "/")
        asserts.true(env, not path or path in runfiles, "%s is not in the runfiles" % path)
    return analysistest.end(env)

def _make_config_test(settings):
    return analysistest.make(
        _config_test_impl,
        attrs = {"config": attr.string()},
        config_settings = settings,
    )

_config_test = _make_config_test(_WITH_UEFI)
_accel_flag_test = _make_config_test(_WITH_UEFI | {str(Label("//qemu:accel")): "kvm"})
_time_limit_factor_test = _make_config_test(_WITH_UEFI | {str(Label("//qemu:time_limit_factor")): 7})

# QEMU and the program that runs it are those of one platform.
def _platform_test_impl(ctx):
    env = analysistest.begin(ctx)
    for action in analysistest.target_actions(env):
        output = action.outputs.to_list()[0]
        if action.mnemonic == "ExecutableSymlink":
            asserts.equals(env, [ctx.attr.runner.label], [file.owner for file in action.inputs.to_list()])
        elif output.basename.endswith(".vm.json"):
            asserts.equals(env, "_main/tests/analysis/%s" % ctx.attr.qemu, json.decode(action.content)["machine"]["qemu"])
    return analysistest.end(env)

_platform_test = analysistest.make(
    _platform_test_impl,
    attrs = {
        "qemu": attr.string(),
        "runner": attr.label(allow_files = True),
    },
    config_settings = {
        "//command_line_option:extra_execution_platforms": str(Label("//tests/analysis:far")),
        _EXTRA_TOOLCHAINS: [str(Label("//tests/analysis:%s_toolchain" % name)) for name in ["far_qemu", "far_vmboot"]],
    },
)

_DISK = "//tests/overlay:on_source"
_KERNEL = "//tests/overlay:base.img"

def vm_tests(name):
    """Declares the tests, and a suite of that name.

    Args:
      name: name of the suite.
    """
    suite = struct(name = name, tests = [])
    _toolchains()
    qemu_vm(
        name = "vm",
        testonly = True,
        cpus = 2,
        kernel = _KERNEL,
        kernel_args = [
            "quiet",
            "panic=-1",
        ],
        tags = ["manual"],
    )
    _failure_tests(suite)
    _snapshot_failure_tests(suite)
    _config_tests(suite)
    _platform_tests(suite)
    native.test_suite(name = name, tests = suite.tests)

def _toolchains():
    for name, parts in {
        "aarch64": {
            "qemu_system_aarch64": "//tests/analysis:no_qemu.sh",
            "uefi_code_aarch64": "//tests/overlay:base.img",
            "uefi_vars_aarch64": "//tests/overlay:generated",
        },
        "system_only": {},
        "with_uefi": {
            "uefi_code_x86_64": "//tests/overlay:base.img",
            "uefi_vars_x86_64": "//tests/overlay:generated",
        },
        "with_qemu_img": {"qemu_img": "//tests/analysis:no_qemu.sh"},
    }.items():
        qemu_toolchain(
            name = name,
            # Analysis needs only an executable file.
            qemu_system_x86_64 = "//tests/analysis:no_qemu.sh",
            **parts
        )
        native.toolchain(
            name = name + "_toolchain",
            toolchain = name,
            toolchain_type = "//qemu:toolchain_type",
        )

def _declare(suite, name, test, rule, attributes, **kwargs):
    subject = "%s_%s_subject" % (suite.name, name)
    rule(
        name = subject,
        tags = ["manual"],
        **attributes
    )
    test(
        name = "%s_%s" % (suite.name, name),
        target_under_test = subject,
        **kwargs
    )
    suite.tests.append("%s_%s" % (suite.name, name))

def _failure_tests(suite):
    for name, attributes, message in [
        ("nothing_to_boot", {}, "_subject: the machine has nothing to boot from; set disks or kernel"),
        ("uefi_without_firmware", dict(disks = [_DISK], firmware = "uefi"), "_subject: firmware = \"uefi\" needs UEFI firmware for x86_64, which the QEMU toolchain does not provide; install OVMF"),
        ("architecture_without_qemu", dict(arch = "aarch64", disks = [_DISK], firmware = "uefi"), "_subject: arch = \"aarch64\" needs qemu-system-aarch64; the QEMU toolchain provides qemu-system-x86_64"),
        ("unknown_interface", dict(disks = [disk_options(_DISK, interface = "sata")]), "_subject: disk @@//tests/overlay:on_source: unknown interface \"sata\"; use virtio, nvme, ide or scsi"),
        ("microvm_without_nvme", dict(disks = [disk_options(_DISK, interface = "nvme")], machine = "microvm"), "_subject: disk @@//tests/overlay:on_source: interface \"nvme\" is not supported by a microvm; use virtio"),
        ("read_only_ide", dict(disks = [disk_options(_DISK, interface = "ide", read_only = True)]), "interface \"ide\" does not support read_only; use virtio, nvme or scsi"),
        ("serial_is_too_long", dict(disks = [disk_options(_DISK, serial = "x" * 21)]), "has 21 characters; virtio allows 20"),
        ("serial_with_a_comma", dict(disks = [disk_options(_DISK, serial = "x,y=z")]), "must consist of letters, digits"),
        ("disk_of_two_files", dict(disks = ["//tests/analysis:two_files"]), "_subject: disk @@//tests/analysis:two_files has 2 files; it must have one, the image"),
        ("memory_is_not_a_size", dict(disks = [_DISK], memory = "lots"), "_subject: memory = \"lots\" is not a size"),
        ("memory_is_too_little", dict(disks = [_DISK], memory = "512"), "_subject: memory = \"512\" is 512 bytes; it must be a multiple of 1M"),
        ("zero_cpus", dict(cpus = 0, disks = [_DISK]), "_subject: cpus = 0 must be at least 1"),
        ("initrd_without_kernel", dict(disks = [_DISK], initrd = _KERNEL), "requires kernel"),
        ("kernel_args_without_kernel", dict(disks = [_DISK], kernel_args = ["quiet"]), "_subject: kernel_args = [\"quiet\"] requires kernel"),
        ("forward_without_network", dict(disks = [_DISK], forward_ports = ["tcp:22"]), "_subject: forward_ports = [\"tcp:22\"] requires network = \"user\""),
        ("forward_is_not_a_port", dict(disks = [_DISK], forward_ports = ["22"], network = "user"), "_subject: forward_ports = \"22\" must be \"tcp:22\""),
        ("forward_is_too_large", dict(disks = [_DISK], forward_ports = ["tcp:65536"], network = "user"), "_subject: forward_ports = \"tcp:65536\" must be \"tcp:22\""),
        ("files_of_the_same_name", dict(disks = [_DISK], files = ["//tests/overlay:base.img", "@external_base//:base.img"]), "each file needs its own name"),
        ("files_label_is_too_long", dict(disks = [_DISK], files_label = "TWELVE-CHARS"), "_subject: files_label = \"TWELVE-CHARS\" is not a FAT volume label; use 1 to 11 letters"),
        ("agent_by_initrd_without_kernel", dict(agent = "initrd", disks = [_DISK]), "_subject: agent = \"initrd\" requires kernel"),
        ("agent_by_systemd_in_a_microvm", dict(agent = "systemd", disks = [_DISK], machine = "microvm"), "_subject: agent = \"systemd\" is not supported by a microvm, for which QEMU does not make SMBIOS tables; use cloud-init, or initrd with kernel"),
        ("agent_by_cloud_init_with_a_seed", dict(agent = "cloud-init", disks = [_DISK], files = [_KERNEL], files_label = "cidata"), "_subject: files_label = \"cidata\" is the label of the seed that agent = \"cloud-init\" makes; set another label"),
        ("exit_status_is_too_large", dict(disks = [_DISK], exit_status = 257), "_subject: exit_status = 257 must be 0 or an odd number up to 255"),
        ("exit_status_is_even", dict(disks = [_DISK], exit_status = 2), "_subject: exit_status = 2 must be 0 or an odd number up to 255"),
        ("time_limit_is_negative", dict(disks = [_DISK], time_limit = -1), "_subject: time_limit = -1 must be at least 1 second"),
    ]:
        _declare(suite, name, _failure_test, qemu_boot_test, attributes, message = message)
    for name, attributes, message in [
        ("aarch64_without_ide", dict(arch = "aarch64", disks = [disk_options(_DISK, interface = "ide")], firmware = "uefi"), "interface \"ide\" is not supported by aarch64; use virtio, nvme or scsi"),
        ("aarch64_without_firmware", dict(arch = "aarch64", disks = [_DISK]), "_subject: arch = \"aarch64\" does not have a BIOS to boot a disk with; set firmware = \"uefi\" or kernel"),
        ("aarch64_without_smbios", dict(agent = "systemd", arch = "aarch64", kernel = _KERNEL), "_subject: agent = \"systemd\" requires firmware = \"uefi\" on aarch64, which does not have SMBIOS without it"),
        ("aarch64_with_an_exit_status", dict(arch = "aarch64", disks = [_DISK], exit_status = 33, firmware = "uefi"), "_subject: exit_status = 33 needs the isa-debug-exit device, which aarch64 does not have; use 0"),
    ]:
        _declare(suite, name, _aarch64_failure_test, qemu_boot_test, attributes, message = message)
    _declare(suite, "vm_without_a_disk", _failure_test, qemu_vm, {"testonly": True}, message = "_subject: the machine has nothing to boot from")
    _declare(suite, "check_without_qemu_img", _failure_test, qcow2_check_test, {"image": _DISK}, message = "_subject: qcow2_check_test needs qemu-img, which the QEMU toolchain does not provide")

# Machines of the snapshots below.
_MACHINES = {
    "with_agent": dict(kernel = _KERNEL),
    "with_files": dict(files = [_KERNEL], kernel = _KERNEL),
    "with_nvme": dict(disks = [disk_options(_DISK, interface = "nvme")], kernel = _KERNEL),
    "without_agent": dict(disks = [_DISK]),
    "with_agent_and_disk": dict(disks = [_DISK], kernel = _KERNEL),
    "read_only": dict(disks = [disk_options(_DISK, read_only = True)], kernel = _KERNEL),
}

def _snapshot_failure_tests(suite):
    for name, attributes in _MACHINES.items():
        qemu_vm(
            name = name,
            testonly = True,
            tags = ["manual"],
            **attributes
        )
    qemu_snapshot(
        name = "saved",
        testonly = True,
        tags = ["manual"],
        vm = ":with_agent",
    )
    for name, attributes, message in [
        ("snapshot_without_ready", dict(vm = ":without_agent"), "_subject: the build must know when the guest is ready, and @@//tests/analysis:without_agent does not have an agent to answer; set expect"),
        ("snapshot_ready_without_agent", dict(ready = "true", vm = ":without_agent"), "_subject: ready needs an agent in the guest"),
        ("snapshot_after_resume", dict(after_resume = "true", expect = ["x"], vm = ":without_agent"), "_subject: after_resume needs an agent in the guest"),
        ("snapshot_runfiles", dict(expect = ["x"], runfiles = [_DISK], vm = ":without_agent"), "_subject: runfiles needs an agent in the guest, and @@//tests/analysis:without_agent does not have one; set its kernel or agent"),
        ("snapshot_of_a_snapshot", dict(vm = ":saved"), "_subject: vm = \"@@//tests/analysis:saved\" is a snapshot; a snapshot of it is not supported"),
        ("snapshot_of_nvme", dict(vm = ":with_nvme"), "_subject: disk @@//tests/overlay:on_source of @@//tests/analysis:with_nvme is nvme, which QEMU cannot save; use virtio, scsi or ide"),
        ("snapshot_of_files", dict(vm = ":with_files"), "_subject: @@//tests/analysis:with_files has files, a disk whose layout differs from host to host, so a machine that resumes would read other data; copy them into the guest by its agent, or put them on an image in disks, such as a qcow2_layer"),
        ("snapshot_time_limit", dict(time_limit = 0, vm = ":with_agent"), "_subject: time_limit = 0 must be at least 1 second"),
        ("snapshot_cards", dict(network_cards = 9, vm = ":with_agent"), "_subject: network_cards = 9 must be 0 to 8"),
    ]:
        _declare(suite, name, _failure_test, qemu_snapshot, attributes | {"testonly": True}, message = message)
    _layer_failure_tests(suite)
    for name, attributes, message in [
        ("guest_test_without_agent", dict(vm = ":without_agent"), "_subject: a test in the guest needs an agent there, and @@//tests/analysis:without_agent does not have one; set its kernel or agent"),
        ("guest_test_with_other_disks", dict(disks = [_DISK], vm = ":saved"), "a snapshot, which resumes with the disks that it was saved with; set disks of the qemu_snapshot, or use its qemu_vm as vm"),
    ]:
        _declare(suite, name, _failure_test, qemu_guest_test, attributes | {"test": "//tests/overlay:shell_test"}, message = message)
    _declare(
        suite,
        "snapshot_with_other_disks",
        _failure_test,
        qemu_boot_test,
        dict(disks = [_DISK], vm = ":saved"),
        message = "_subject: disks cannot be set with vm = \"@@//tests/analysis:saved\", a snapshot, which resumes with the disks that it was saved with; set disks of the qemu_snapshot, or use its qemu_vm as vm",
    )
    _declare(
        suite,
        "snapshot_with_exit_status",
        _failure_test,
        qemu_boot_test,
        dict(exit_status = 33, vm = ":saved"),
        message = "_subject: exit_status = 33 needs the isa-debug-exit device, which a snapshot does not have; use 0",
    )

def _layer_failure_tests(suite):
    vm = dict(vm = ":with_agent_and_disk")
    for name, attributes, message in [
        ("layer_of_a_snapshot", dict(vm = ":saved"), "_subject: vm = \"@@//tests/analysis:saved\" is a snapshot, which cannot write a layer; use its qemu_vm as vm"),
        ("layer_without_a_disk", dict(vm = ":with_agent"), "_subject: @@//tests/analysis:with_agent does not have a disk to write to; set disks"),
        ("layer_on_read_only", dict(vm = ":read_only"), "_subject: the first disk of @@//tests/analysis:read_only is read_only, so the guest cannot write a layer on it; set disks, the first without read_only"),
        ("layer_with_network", vm | dict(network = "user"), "_subject: network = \"user\" needs tags = [\"requires-network\"]"),
        ("layer_with_exit_status", vm | dict(exit_status = 1), "_subject: exit_status = 1 is for guests without an agent, and this agent powers the guest off; omit it"),
        ("layer_with_even_status", dict(exit_status = 2, vm = ":without_agent"), "_subject: exit_status = 2 must be 0 or, on x86_64, an odd number up to 255"),
        ("layer_run_without_agent", dict(run = ["true"], vm = ":without_agent"), "_subject: run needs an agent in the guest, and @@//tests/analysis:without_agent does not have one; set its kernel or agent"),
        ("layer_seal_without_agent", dict(seal = True, vm = ":without_agent"), "_subject: seal needs an agent in the guest"),
        ("layer_path_without_agent", dict(files = {_KERNEL: "/boot/kernel"}, vm = ":without_agent"), "so this must be a file name on the FAT disk, without \"/\""),
        ("layer_relative_path", vm | dict(files = {_KERNEL: "kernel"}), "goes to \"kernel\"; the path in the guest must be absolute and not /"),
        ("layer_mode", vm | dict(files = {_KERNEL: guest_path("/kernel", mode = "4755")}), "mode = \"4755\" must be octal and at most 0777, as in \"0644\"; for other bits, use chmod in run"),
        ("layer_unpack_mode", vm | dict(files = {_KERNEL: guest_path("/kernel", mode = "0755", unpack = True)}), "unpack excludes mode and owner, which the archive has"),
        ("layer_max_size", vm | dict(max_size = "lots"), "_subject: max_size = \"lots\" is not a size: "),
        ("layer_time_limit", vm | dict(time_limit = 0), "_subject: time_limit = 0 must be at least 1 second"),
    ]:
        _declare(suite, name, _qemu_img_failure_test, qcow2_layer, attributes | {"testonly": True}, message = message)
    _declare(suite, "layer_without_qemu_img", _failure_test, qcow2_layer, vm | {"testonly": True}, message = "_subject: a layer needs qemu-img, which the QEMU toolchain does not provide")

def _config_tests(suite):
    for name, test, attributes, want in [
        (
            "defaults",
            _config_test,
            dict(disks = [_DISK]),
            {"accel": "auto", "exit_status": 0, "machine": "q35", "memory": "256M", "network": "none", "uefi_code": ""},
        ),
        (
            "expect_does_not_need_an_end",
            _config_test,
            dict(disks = [_DISK], expect = ["x"]),
            {"exit_status": None},
        ),
        (
            "disks_in_order",
            _config_test,
            dict(disks = [
                disk_options("//tests/overlay:sized", interface = "nvme", serial = "a"),
                "//tests/overlay:base.img",
                disk_options("@@//tests/overlay:sized", read_only = True),
            ]),
            {"disks": [
                {"format": "qcow2", "interface": "nvme", "path": "_main/tests/overlay/sized.qcow2", "read_only": False, "serial": "a"},
                {"format": "", "interface": "virtio", "path": "_main/tests/overlay/base.img", "read_only": False, "serial": ""},
                {"format": "qcow2", "interface": "virtio", "path": "_main/tests/overlay/sized.qcow2", "read_only": True, "serial": ""},
            ]},
        ),
        (
            "selected_disks",
            _config_test,
            dict(disks = select({"//conditions:default": ["//tests/overlay:sized"]})),
            {"disks": [
                {"format": "qcow2", "interface": "virtio", "path": "_main/tests/overlay/sized.qcow2", "read_only": False, "serial": ""},
            ]},
        ),
        (
            "machine_of_another_target",
            _config_test,
            dict(expect = ["x"], vm = "//tests/analysis:vm"),
            {"cpus": 2, "kernel": "_main/tests/overlay/base.img", "kernel_args": ["quiet", "panic=-1"]},
        ),
        (
            "uefi",
            _config_test,
            dict(firmware = "uefi", kernel = _KERNEL),
            {"kernel": "_main/tests/overlay/base.img", "uefi_code": "_main/tests/overlay/base.img", "uefi_vars": "_main/tests/overlay/generated.img"},
        ),
        (
            "reserved_processors_and_memory",
            _config_test,
            dict(cpus = 3, disks = [_DISK], memory = "2047M"),
            {"cpus": 3, "memory": "2047M"},
        ),
        (
            "no_agent_without_a_use_for_it",
            _config_test,
            dict(agent = "systemd", disks = [_DISK]),
            {"agent": "none", "agent_program": ""},
        ),
    ] + [
        (
            "agent_by_" + agent,
            _config_test,
            dict(agent = agent, disks = [_DISK], run_while_up = "//tools/qcow2gen"),
            {"agent": agent, "agent_program": "_main/guest/agentd/agentd_linux_amd64_/agentd_linux_amd64"},
        )
        for agent in ["cloud-init", "systemd"]
    ] + [
        (
            "flag_for_all",
            _accel_flag_test,
            dict(accel = "tcg", disks = [_DISK]),
            {"accel": "kvm"},
        ),
        (
            "time_limit_factor_for_all",
            _time_limit_factor_test,
            dict(disks = [_DISK], time_limit = 3),
            {"time_limit": 3, "time_limit_factor": 7},
        ),
    ]:
        _declare(suite, name, test, qemu_boot_test, attributes, config = json.encode(want))

def _platform_tests(suite):
    native.constraint_setting(name = "distance")
    native.constraint_value(
        name = "is_far",
        constraint_setting = "distance",
    )
    native.platform(
        name = "far",
        constraint_values = ["is_far"],
        parents = ["@platforms//host"],
    )
    qemu_toolchain(
        name = "far_qemu",
        qemu_system_x86_64 = "//tests/analysis:far_qemu.sh",
    )
    vmboot_toolchain(
        name = "far_vmboot",
        qcow2check = "//tests/analysis:far_vmboot.sh",
        vm = "//tests/analysis:far_vmboot.sh",
        vmboot = "//tests/analysis:far_vmboot.sh",
    )
    for part, type in {"far_qemu": "//qemu:toolchain_type", "far_vmboot": "//tools/vmboot:toolchain_type"}.items():
        native.toolchain(
            name = part + "_toolchain",
            exec_compatible_with = ["is_far"],
            toolchain = part,
            toolchain_type = type,
        )
    for name, rule, attributes in [
        ("test_on_one_platform", qemu_boot_test, dict(expect = ["x"], vm = "//tests/analysis:vm")),
        ("machine_on_one_platform", qemu_vm, dict(kernel = _KERNEL)),
    ]:
        _declare(suite, name, _platform_test, rule, attributes, qemu = "far_qemu.sh", runner = "//tests/analysis:far_vmboot.sh")
