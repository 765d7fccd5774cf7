"""qcow2_check_test: qemu-img check as a test."""

load(":providers.bzl", "Qcow2Info")
load(":runner.bzl", "exec_groups", "qemu_of", "rlocationpath", "run", "target_name")
load(":toolchain.bzl", "QCOW2CHECK_TOOLCHAIN_TYPE")

def _qcow2_check_test_impl(ctx):
    qemu_img = qemu_of(ctx).qemu_img
    if not qemu_img:
        fail("%s: the QEMU toolchain has no qemu-img, which qcow2_check_test needs" % ctx.label)
    image = ctx.attr.image
    return [run(
        ctx,
        QCOW2CHECK_TOOLCHAIN_TYPE,
        {
            "format": image[Qcow2Info].format if Qcow2Info in image else "",
            "image": rlocationpath(ctx, ctx.file.image),
            "qemu_img": rlocationpath(ctx, qemu_img.executable),
            "target": target_name(ctx),
        },
        ".json",
        [ctx.file.image, qemu_img.executable],
        [image[DefaultInfo].default_runfiles, qemu_img.runfiles],
    )]

qcow2_check_test = rule(
    implementation = _qcow2_check_test_impl,
    doc = """\
Runs `qemu-img check` over an image and every image below it.

```starlark
qcow2_check_test(
    name = "disk_check_test",
    size = "small",
    image = ":disk",
)
```

It fails if a layer is corrupt, has leaked clusters, or cannot be opened. What
qemu-img says of each is in `check.txt` in the test's outputs. Raw images have
nothing to check: that one can be opened is all there is to know. Without QEMU
for the platform it runs on, the test is incompatible, and skipped.
""",
    attrs = {
        "image": attr.label(
            doc = "The uppermost image: a `qcow2_overlay`, or any file.",
            allow_single_file = True,
            mandatory = True,
        ),
    },
    exec_groups = exec_groups(QCOW2CHECK_TOOLCHAIN_TYPE),
    test = True,
)
