"""Guests with Debian, and an old QEMU, made from the packages of a mirror when a test needs them."""

# Folders with packages that layers install.
_PACKAGES = ["nginx", "openssh-server", "python3"]

_GUESTS = {
    "debian12": ["initrd.img", "root.img", "vmlinuz"],
    "debian13": ["disk.img", "initrd.img", "root.img", "vmlinuz"] + _PACKAGES,
    "debian13_arm64": ["root.img", "vmlinuz"],
    "qemu7": ["qemu-system-x86_64"],
}

_FILES = """\
package(default_visibility = ["//visibility:public"])

exports_files({files})

[
    filegroup(
        name = package + "_debs",
        srcs = glob([package + "/*.deb"], allow_empty = True),
    )
    for package in {packages}
]
"""

# Tests that need these files are skipped.
_MISSING = """\
package(default_visibility = ["//visibility:public"])

[
    filegroup(
        name = name,
        target_compatible_with = ["@platforms//:incompatible"],
    )
    for name in {files} + [package + "_debs" for package in {packages}]
]
"""

# The exit status of make.sh if it cannot make a guest on this machine.
_SKIPPED = 77

def _guest_impl(rctx):
    files = _GUESTS[rctx.attr.guest]
    rctx.watch(rctx.attr._script)
    for name in ["RULES_QCOW2_CACHE", "RULES_QCOW2_MIRROR"]:
        rctx.getenv(name)
    rctx.report_progress("making %s" % rctx.attr.guest)
    result = rctx.execute([rctx.path(rctx.attr._script), rctx.attr.guest], timeout = 1800)
    if result.return_code == 0:
        for file in files:
            rctx.symlink("%s/%s" % (result.stdout.strip(), file), file)
        rctx.file("BUILD.bazel", _FILES.format(files = files, packages = _PACKAGES))
    elif result.return_code == _SKIPPED:
        # buildifier: disable=print
        print("tests with %s are skipped: %s" % (rctx.attr.guest, result.stderr.strip()))
        rctx.file("BUILD.bazel", _MISSING.format(files = files, packages = _PACKAGES))
    else:
        fail("making %s failed:\n%s" % (rctx.attr.guest, result.stderr))

# Local: each new Bazel server looks again whether the mirror can be reached. The
# files themselves are in the cache folder.
_guest = repository_rule(
    implementation = _guest_impl,
    attrs = {
        "guest": attr.string(mandatory = True),
        "_script": attr.label(default = "//:make.sh"),
    },
    local = True,
)

def _debian_impl(_):
    for name in _GUESTS:
        _guest(name = name, guest = name)

debian = module_extension(_debian_impl)
