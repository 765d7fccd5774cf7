"""The module extension that makes the machine's QEMU a repository."""

load("//qemu/private:host.bzl", "host_qemu")

def _qemu_impl(module_ctx):
    host_qemu(name = "qemu")
    return module_ctx.extension_metadata(reproducible = True) if hasattr(module_ctx, "extension_metadata") else None

qemu = module_extension(
    implementation = _qemu_impl,
    doc = """\
Makes the repository `@qemu` of what QEMU is installed on the machine, with
`@qemu//:qemu-img`, `@qemu//:qemu-io` and `@qemu//:qemu-system-x86_64` as files
for `data`. Where one is missing, what depends on it is incompatible, and
skipped by `bazel test //...`.
""",
)
