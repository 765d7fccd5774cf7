"""The module extension that makes the host's QEMU a repository."""

load("//qemu/private:host.bzl", "PATHS", "host_qemu")

def _qemu_impl(module_ctx):
    paths = {}
    for module in module_ctx.modules:
        for tag in module.tags.local:
            if not module.is_root:
                # Only the root module may set paths.
                continue
            if paths:
                fail("qemu.local is given twice; use it once")
            paths = {name: getattr(tag, name) for name in PATHS if getattr(tag, name)}
    host_qemu(name = "qemu", paths = paths)
    return module_ctx.extension_metadata(reproducible = True)

_local = tag_class(
    doc = """\
Sets paths of programs and firmware. Programs without a path are looked up on
`PATH`. Only the root module's tag has an effect.
""",
    attrs = {
        name: attr.string(doc = doc + " By default it is looked up.")
        for name, doc in PATHS.items()
    },
)

qemu = module_extension(
    implementation = _qemu_impl,
    doc = """\
Makes the repository `@qemu` of the QEMU that is installed on the host, with the
files `@qemu//:qemu-img`, `@qemu//:qemu-io`, `@qemu//:qemu-system-x86_64` and
`@qemu//:qemu-system-aarch64`. If one is missing, targets that depend on it are
incompatible: `bazel test //...` skips them.
""",
    tag_classes = {"local": _local},
)
