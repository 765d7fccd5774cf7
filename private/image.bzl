"""qcow2_image, as BUILD files call it."""

load(":image_rule.bzl", _qcow2_image = "qcow2_image")

def qcow2_image(
        name,
        src,
        compression = None,
        backing = None,
        size = None,
        out = None,
        cluster_size = None,
        **kwargs):
    """A compressed qcow2 image with the contents of another image.

    ```starlark
    load("@rules_qcow2//:defs.bzl", "qcow2_image", "qcow2_overlay")

    qcow2_image(
        name = "debian",
        src = "@debian_image//file",
    )

    qcow2_overlay(
        name = "disk",
        size = "20G",
        backing = ":debian",
    )
    ```

    The target has one output, `debian.qcow2`, and provides `Qcow2Info`. A guest
    reads the same as from `src`. Zeros take no space, and clusters that become
    smaller are compressed. The bytes depend only on the contents of `src`, on
    the attributes and on the version of the ruleset: not on the machine, the
    configuration or the number of cores.

    With `backing`, the image has only the clusters that differ from `backing`,
    for example those of a new release of a base:

    ```starlark
    qcow2_image(
        name = "new_debian",
        src = "@new_debian_image//file",
        backing = ":debian",
    )
    ```

    It is then a layer, with links to all images below in
    `new_debian.qcow2.backing/`, as a `qcow2_overlay` has them.

    The action uses two cores and less than 100 MiB of memory. Without
    `qcow2_image`, a build neither downloads nor compiles its program.

    Args:
      name: name of the target.
      src: (label) the image to convert, raw or qcow2: a file, a target with one
        output, or another image target, of which all layers are read. A qcow2
        file that names a backing file or an external data file is an error
        unless its target provides `Qcow2Info`, because Bazel does not know the
        file that it names. A file that is plainly not a raw or qcow2 disk is an
        error, too: see `backing_format` of `qcow2_overlay`.
      compression: (string) `"zstd"`, the default, which needs QEMU 5.1 (2020) or
        newer; `"zlib"`, for other readers; or `"none"`.
      backing: (label) an image below the new one: as `src`, a file or a target. Its
        virtual size may differ.
      size: (string) the virtual size, as in `qcow2_overlay`. The default is the
        virtual size of `src`; a smaller size is an error. If it is larger, the
        guest reads zeros past the end of `src`.
      out: (string) file name of the image. The default is `<name>.qcow2`. It is not a
        label: depend on the target, whose runfiles have the images below.
      cluster_size: (string) the unit that is compressed and read as a whole: a
        power of two from `"512"` to `"2M"`. The default is `"64K"`. Larger
        clusters compress better, but a small read takes longer.
      **kwargs: attributes that all rules have, such as `visibility`, `tags` and
        `testonly`.
    """
    _qcow2_image(
        name = name,
        src = src,
        backing = backing,
        cluster_size = cluster_size,
        compression = compression,
        out = out,
        virtual_size = size,
        **kwargs
    )
