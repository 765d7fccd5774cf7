"""Copy-on-write qcow2 disks: the public rules and providers of rules_qcow2."""

load("//private:overlay.bzl", _qcow2_overlay = "qcow2_overlay")
load("//private:providers.bzl", _Qcow2Info = "Qcow2Info")
load("//private:toolchain.bzl", _qcow2gen_toolchain = "qcow2gen_toolchain")

Qcow2Info = _Qcow2Info
qcow2_overlay = _qcow2_overlay
qcow2gen_toolchain = _qcow2gen_toolchain
