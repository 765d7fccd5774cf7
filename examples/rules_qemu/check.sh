#!/usr/bin/env bash
# check.sh tests this workspace without access to rules_qemu: it replaces that by a
# module with the same labels and the programs on PATH. With access, `bazel test //...`
# does not need this script.

set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
module=$(mktemp -d)
bazel() { (cd "$here" && ../../bazelw "$@"); }
trap 'rm -rf "$module"' EXIT

mkdir -p "$module/qemu/extension"
touch "$module/qemu/extension/BUILD.bazel"
echo 'module(name = "rules_qemu")' >"$module/MODULE.bazel"
cat >"$module/qemu/extension/qemu.bzl" <<'END'
def _program_impl(rctx):
    path = rctx.which(rctx.attr.program)
    if not path:
        fail("%s is not on PATH" % rctx.attr.program)
    rctx.symlink(path, "bin/" + rctx.attr.program)
    rctx.file("BUILD.bazel", "exports_files([\"bin/%s\"])" % rctx.attr.program)

_program = repository_rule(_program_impl, attrs = {"program": attr.string()}, local = True)

def _data_impl(rctx):
    # The programs on PATH find their own firmware.
    rctx.file("share/qemu/empty", "")
    rctx.file("BUILD.bazel", "exports_files([\"share/qemu\"])")

_data = repository_rule(_data_impl)

def _qemu_impl(_):
    _program(name = "qemu_img_prebuilt_linux_amd64", program = "qemu-img")
    _program(name = "qemu_system_bin_prebuilt_linux_amd64_x86_64_softmmu", program = "qemu-system-x86_64")
    _data(name = "qemu_system_data_prebuilt_linux_amd64")

qemu = module_extension(_qemu_impl)
END
bazel test --override_module=rules_qemu="$module" --test_output=errors //...

# The test ran with this QEMU, not with the one that the ruleset detects.
grep --quiet qemu_system_bin_prebuilt "$here/bazel-bin/boot_test.vm.json"
