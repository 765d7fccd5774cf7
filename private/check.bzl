"""qcow2_check_test: qemu-img check as a test."""

load(":providers.bzl", "Qcow2Info")
load(":runner.bzl", "EXEC_GROUPS", "programs_of", "qemu_of", "rlocationpath", "run", "target_name")

def _qcow2_check_test_impl(ctx):
    qemu_img = qemu_of(ctx).qemu_img
    if not qemu_img:
        fail("%s: qcow2_check_test needs qemu-img, which the QEMU toolchain does not provide; set its qemu_img" % ctx.label)
    image = ctx.attr.image
    return [run(
        ctx,
        programs_of(ctx).qcow2check,
        {
            "format": image[Qcow2Info].format if Qcow2Info in image else "",
            "image": rlocationpath(ctx, ctx.file.image),
            "qemu_img": rlocationpath(ctx, qemu_img.executable),
            "target": target_name(ctx),
        },
        ".check.json",
        [
            ctx.runfiles([ctx.file.image, qemu_img.executable]),
            image[DefaultInfo].default_runfiles,
            qemu_img.runfiles,
        ],
    )]

qcow2_check_test = rule(
    implementation = _qcow2_check_test_impl,
    doc = """\
Runs `qemu-img check` on an image and every image below it.

```starlark
qcow2_check_test(
    name = "disk_check_test",
    size = "small",
    image = ":disk",
)
```

The test fails if an image is corrupt, has leaked clusters, or cannot be opened.
The test's output `check.txt` has the output of qemu-img for each image. For a raw
image, the test checks only that qemu-img can open it. Without QEMU on the platform
that tests run on, the test is incompatible: `bazel test //...` skips it.
""",
    attrs = {
        "image": attr.label(
            doc = "The uppermost image: a `qcow2_overlay`, or any file.",
            allow_single_file = True,
            mandatory = True,
        ),
    },
    exec_groups = EXEC_GROUPS,
    test = True,
)
