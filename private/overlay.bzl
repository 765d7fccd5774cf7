"""qcow2_overlay, as BUILD files call it."""

load(":overlay_rule.bzl", _qcow2_overlay = "qcow2_overlay")

def qcow2_overlay(
        name,
        backing,
        size = None,
        backing_format = None,
        out = None,
        cluster_size = None,
        extended_l2 = None,
        compat = None,
        **kwargs):
    """A copy-on-write qcow2 disk on top of a base image.

    The overlay takes 12 KiB on disk, whatever the size of the base. It reads
    as its base does, and a guest's writes go to the overlay, never to the base.

    ```starlark
    load("@rules_qcow2//:defs.bzl", "qcow2_overlay")

    qcow2_overlay(
        name = "disk",
        backing = "@debian_image//file",
        size = "20G",
    )
    ```

    The target has one output, `disk.qcow2`, and provides `Qcow2Info`. Links to
    all images below are laid out in `disk.qcow2.backing/`, next to the image,
    and its stored backing file name is relative. So it opens from `bazel-bin`,
    from the runfiles of a test, under remote execution and below other
    overlays. Its bytes do not depend on the machine or the configuration.

    Do not write to the overlay itself: it is an output of the build. Give each
    guest a private layer on top of it in `$TEST_TMPDIR`. `qemu_vm` and
    `qemu_boot_test` do that.

    Args:
      name: name of the target.
      backing: (label) the base image: a file, a target with one output, or
        another image target. A qcow2 file that names a backing file or an
        external data file is an error unless its target provides `Qcow2Info`,
        because Bazel does not know the file that it names.
      size: (string) the virtual size: a number with a suffix of powers of 1024,
        as in `"20G"`, `"3.5G"`, or bytes, as in `"21474836480"`. `"20GiB"` is
        the same as `"20G"`; qemu-img does not accept it. The size is rounded up
        to a multiple of 512 bytes. The default is the virtual size of
        `backing`; a smaller size is an error. If it is larger, the guest reads
        zeros past the end of `backing`.
      backing_format: (string) the format of `backing`, which is recorded in the
        overlay: `"raw"`, `"qcow2"`, or another block driver of QEMU, which
        requires `size`. The default, `"auto"`, detects it from the first bytes.
        It fails for a file that is plainly not a raw or qcow2 disk: an archive,
        a compressed file, a web page, a pointer of Git LFS, an empty file, an
        image of another format, or a file `*.qcow2` that is not one. `"raw"`
        takes any file. If both `size` and the format are given, the base is not
        an input of the action: a remote executor does not need it. Trade-off: a
        `size` that is too small goes undetected.
      out: (string) file name of the image. The default is `<name>.qcow2`. It is not a
        label: depend on the target, whose runfiles have the images below.
      cluster_size: (string) the unit in which the overlay grows: a power of two
        from `"512"` to `"2M"`. The default is `"128K"` with `extended_l2`, and
        `"64K"` without.
      extended_l2: (bool or string) whether clusters are divided into 32
        subclusters that are copied separately. Small writes are several times
        faster and take less space. True or `"on"`, False or `"off"`, or
        `"auto"`, the default: on if the other attributes allow it. A `select()`
        takes the strings. It requires `compat = "1.1"`, clusters of `"16K"` or
        more, and QEMU 5.2 (2020) or newer; cloud-hypervisor and crosvm do not
        support it.
      compat: (string) version of the format, by qemu-img's name: `"1.1"`, the
        default, is version 3; `"0.10"` is version 2, for old readers.
      **kwargs: attributes that all rules have, such as `visibility`, `tags` and
        `testonly`.
    """
    _qcow2_overlay(
        name = name,
        backing = backing,
        backing_format = backing_format,
        cluster_size = cluster_size,
        compat = compat,
        extended_l2 = _on_off(extended_l2),
        out = out,
        virtual_size = size,
        **kwargs
    )

def _on_off(value):
    """Converts a bool to the rule's "on" or "off"; other values stay."""
    if type(value) == "bool":
        return "on" if value else "off"
    return value
