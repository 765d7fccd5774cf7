"""Analysis tests of virtual machines."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//:defs.bzl", "qcow2_check_test", "qemu_boot_test", "qemu_toolchain", "qemu_vm")

_EXTRA_TOOLCHAINS = "//command_line_option:extra_toolchains"

# A QEMU of which there is only what follows it in the name.
_SYSTEM_ONLY = {_EXTRA_TOOLCHAINS: str(Label("//tests/analysis:system_only_toolchain"))}
_WITH_UEFI = {_EXTRA_TOOLCHAINS: str(Label("//tests/analysis:with_uefi_toolchain"))}

def _failure_test_impl(ctx):
    env = analysistest.begin(ctx)
    asserts.expect_failure(env, ctx.attr.message)
    return analysistest.end(env)

_failure_test = analysistest.make(
    _failure_test_impl,
    attrs = {"message": attr.string()},
    config_settings = _SYSTEM_ONLY,
    expect_failure = True,
)

# What the runner is told.
def _config_test_impl(ctx):
    env = analysistest.begin(ctx)
    configs = [
        json.decode(action.content)
        for action in analysistest.target_actions(env)
        if action.mnemonic == "FileWrite" and action.outputs.to_list()[0].basename.endswith(".vm.json")
    ]
    asserts.equals(env, 1, len(configs), "number of configs")
    want = json.decode(ctx.attr.config)
    asserts.equals(env, want, {key: configs[0][key] for key in want})

    # All that it names is there.
    runfiles = {
        file.short_path.removeprefix("../"): None
        for file in analysistest.target_under_test(env)[DefaultInfo].default_runfiles.files.to_list()
    }
    named = [disk["path"] for disk in configs[0]["disks"]] + [configs[0][key] for key in ["kernel", "initrd", "qemu", "uefi_code", "uefi_vars"]]
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

_DISK = "//tests/overlay:on_source"
_KERNEL = "//tests/overlay:base.img"

def vm_tests(name):
    """Declares the tests, and a suite of that name.

    Args:
      name: name of the suite.
    """
    suite = struct(name = name, tests = [])
    _toolchains()
    _failure_tests(suite)
    _config_tests(suite)
    native.test_suite(name = name, tests = suite.tests)

def _toolchains():
    for name, parts in {
        "system_only": {},
        "with_uefi": {
            "uefi_code_x86_64": "//tests/overlay:base.img",
            "uefi_vars_x86_64": "//tests/overlay:generated",
        },
    }.items():
        qemu_toolchain(
            name = name,
            # An executable file is all that analysis asks for.
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
        ("no_disk_and_no_kernel", {}, "_subject: neither disks nor kernel is given"),
        ("uefi_without_firmware", dict(disks = [_DISK], firmware = "uefi"), "_subject: firmware = \"uefi\" needs UEFI firmware for x86_64, which the QEMU toolchain has not"),
        ("architecture_without_qemu", dict(arch = "aarch64", disks = [_DISK]), "_subject: arch = \"aarch64\" needs qemu-system-aarch64, which the QEMU toolchain has not; it has qemu-system-x86_64"),
        ("unknown_interface", dict(disks = {_DISK: "sata"}), "_subject: disks = \"sata\" is no interface for @@//tests/overlay:on_source, allowed are ide, nvme, scsi, virtio"),
        ("microvm_without_nvme", dict(disks = {_DISK: "nvme"}, machine = "microvm"), "_subject: disks = \"nvme\" is no interface that a microvm has"),
        ("disk_of_two_files", dict(disks = ["//tests/analysis:two_files"]), "_subject: disks = \"@@//tests/analysis:two_files\" is 2 files, allowed is one image"),
        ("memory_is_no_size", dict(disks = [_DISK], memory = "lots"), "_subject: memory = \"lots\" is no size"),
        ("memory_is_too_little", dict(disks = [_DISK], memory = "512"), "_subject: memory = \"512\" is 512 bytes, allowed are multiples of 1M"),
        ("no_cpu", dict(cpus = 0, disks = [_DISK]), "_subject: cpus = 0 is not enough"),
        ("initrd_without_kernel", dict(disks = [_DISK], initrd = _KERNEL), "goes to a kernel, and none is given"),
        ("append_without_kernel", dict(append = "quiet", disks = [_DISK]), "_subject: append = \"quiet\" goes to a kernel"),
        ("forward_without_network", dict(disks = [_DISK], forward = ["tcp:22"]), "_subject: forward = [\"tcp:22\"] needs network = \"user\""),
        ("forward_is_no_port", dict(disks = [_DISK], forward = ["22"], network = "user"), "_subject: forward = \"22\" is no port to forward"),
        ("forward_is_too_large", dict(disks = [_DISK], forward = ["tcp:65536"], network = "user"), "_subject: forward = \"tcp:65536\" is no port"),
        ("files_of_the_same_name", dict(disks = [_DISK], files = ["//tests/overlay:base.img", "@external_base//:base.img"]), "allowed is one file of a name"),
        ("exit_status_is_too_large", dict(disks = [_DISK], exit_status = 256), "_subject: exit_status = 256 is not allowed"),
        ("time_limit_is_negative", dict(disks = [_DISK], time_limit = -1), "_subject: time_limit = -1 is not allowed"),
    ]:
        _declare(suite, name, _failure_test, qemu_boot_test, attributes, message = message)
    _declare(suite, "vm_without_a_disk", _failure_test, qemu_vm, {"testonly": True}, message = "_subject: neither disks nor kernel is given")
    _declare(suite, "check_without_qemu_img", _failure_test, qcow2_check_test, {"image": _DISK}, message = "_subject: the QEMU toolchain has no qemu-img, which qcow2_check_test needs")

def _config_tests(suite):
    for name, test, attributes, want in [
        (
            "defaults",
            _config_test,
            dict(disks = [_DISK]),
            {"accel": "auto", "exit_status": 0, "machine": "q35", "memory": "256M", "network": "none", "uefi_code": ""},
        ),
        (
            "expect_needs_no_end",
            _config_test,
            dict(disks = [_DISK], expect = ["x"]),
            {"exit_status": None},
        ),
        (
            "disks_in_order",
            _config_test,
            dict(disks = {
                "//tests/overlay:sized": "nvme,serial=a,logical_block_size=4096",
                "//tests/overlay:base.img": "ide",
            }),
            {"disks": [
                {"format": "qcow2", "interface": "nvme", "options": "serial=a,logical_block_size=4096", "path": "_main/tests/overlay/sized.qcow2"},
                {"format": "", "interface": "ide", "options": "", "path": "_main/tests/overlay/base.img"},
            ]},
        ),
        (
            "uefi",
            _config_test,
            dict(firmware = "uefi", kernel = _KERNEL),
            {"kernel": "_main/tests/overlay/base.img", "uefi_code": "_main/tests/overlay/base.img", "uefi_vars": "_main/tests/overlay/generated.img"},
        ),
        (
            "flag_for_all",
            _accel_flag_test,
            dict(accel = "tcg", disks = [_DISK]),
            {"accel": "kvm"},
        ),
    ]:
        _declare(suite, name, test, qemu_boot_test, attributes, config = json.encode(want))
