"""The public rules, functions and providers of rules_qcow2."""

load("//private:boot.bzl", _DEFAULT_FAIL_ON = "DEFAULT_FAIL_ON", _qemu_boot_test = "qemu_boot_test")
load("//private:chain.bzl", _link_backing_chain = "link_backing_chain")
load("//private:check.bzl", _qcow2_check_test = "qcow2_check_test")
load("//private:disk.bzl", _disk_options = "disk_options")
load("//private:guest_test.bzl", _qemu_guest_test = "qemu_guest_test")
load("//private:image.bzl", _qcow2_image = "qcow2_image")
load("//private:layer.bzl", _guest_path = "guest_path", _qcow2_layer = "qcow2_layer")
load("//private:overlay.bzl", _qcow2_overlay = "qcow2_overlay")
load("//private:providers.bzl", _Qcow2Info = "Qcow2Info", _QemuVmInfo = "QemuVmInfo")
load("//private:snapshot.bzl", _qemu_snapshot = "qemu_snapshot")
load("//private:toolchain.bzl", _qcow2gen_toolchain = "qcow2gen_toolchain", _vmboot_toolchain = "vmboot_toolchain")
load("//private:vm.bzl", _qemu_vm = "qemu_vm")
load("//qemu:providers.bzl", _QemuInfo = "QemuInfo")
load("//qemu:toolchain.bzl", _qemu_toolchain = "qemu_toolchain")

Qcow2Info = _Qcow2Info
QemuInfo = _QemuInfo
QemuVmInfo = _QemuVmInfo
guest_path = _guest_path
link_backing_chain = _link_backing_chain
qcow2_check_test = _qcow2_check_test
qcow2_image = _qcow2_image
qcow2_layer = _qcow2_layer
qcow2_overlay = _qcow2_overlay
qcow2gen_toolchain = _qcow2gen_toolchain
qemu_boot_test = _qemu_boot_test
disk_options = _disk_options
qemu_guest_test = _qemu_guest_test
qemu_snapshot = _qemu_snapshot
qemu_toolchain = _qemu_toolchain
qemu_vm = _qemu_vm
vmboot_toolchain = _vmboot_toolchain

# The default of qemu_boot_test's `fail_on`, for tests that extend it.
DEFAULT_FAIL_ON = _DEFAULT_FAIL_ON
