"""The module extension that makes the machine's QEMU a repository."""

load("//qemu/private:host.bzl", "PATHS", "host_qemu")

def _qemu_impl(module_ctx):
    paths = {}
    for module in module_ctx.modules:
        for tag in module.tags.local:
            if not module.is_root:
                # Where QEMU is installed is for nobody else to know.
                continue
            if paths:
                fail("qemu.local is given twice, allowed is once")
            paths = {name: getattr(tag, name) for name in PATHS if getattr(tag, name)}
    host_qemu(name = "qemu", paths = paths)
    return module_ctx.extension_metadata(reproducible = True)

_local = tag_class(
    doc = """\
Programs and firmware at paths of one's own, in place of what is found on
`PATH`. What is not given is looked for as before. Only the root module's tag
counts.
""",
    attrs = {
        name: attr.string(doc = doc + " The default is what is found.")
        for name, doc in PATHS.items()
    },
)

qemu = module_extension(
    implementation = _qemu_impl,
    doc = """\
Makes the repository `@qemu` of what QEMU is installed on the machine, with
`@qemu//:qemu-img`, `@qemu//:qemu-io`, `@qemu//:qemu-system-x86_64` and
`@qemu//:qemu-system-aarch64` as files for `data`. Where one is missing, what
depends on it is incompatible, and skipped by `bazel test //...`.
""",
    tag_classes = {"local": _local},
)
