"""qcow2_overlay as BUILD files call it."""

load(":overlay_rule.bzl", _qcow2_overlay = "qcow2_overlay")

def qcow2_overlay(
        name,
        backing,
        size = None,
        backing_format = None,
        out = None,
        cluster_size = None,
        extended_l2 = None,
        lazy_refcounts = None,
        compat = None,
        **kwargs):
    """A disk that a guest can write to while the image below it stays as it is.

    It is a qcow2 image of a few kilobytes that holds nothing yet, and reads
    everything from its backing file:

    ```starlark
    load("@rules_qcow2//:defs.bzl", "qcow2_overlay")

    qcow2_overlay(
        name = "disk",
        backing = "@debian_image//file",
        size = "20G",
    )
    ```

    The target has one output, `disk.qcow2`, and provides `Qcow2Info`. Links to
    all images below it are laid out beside it in `disk.qcow2.backing/`, and
    its stored backing file name is relative, so it opens from `bazel-bin`, in
    the runfiles of a test, under remote execution and below other overlays
    alike. The bytes do not depend on the machine or the configuration.

    Bazel's outputs are not to be written to: give a guest a layer of its own
    on top, in `$TEST_TMPDIR`.

    Args:
      name: name of the target.
      backing: label of the image to overlay: a file, a target with one output,
        or another `qcow2_overlay`. Only of what provides `Qcow2Info` does Bazel
        know the files below it; a qcow2 file from elsewhere that names a
        backing file or an external data file is refused.
      size: the virtual size, as qemu-img takes it: a number with a suffix of
        powers of 1024, as in `"20G"`, `"20GiB"`, `"3.5G"` or
        `"21474836480"`. It is rounded up to a multiple of 512 bytes. The
        default is the virtual size of `backing`, and less than that is an
        error; where it is more, the guest reads zeros behind the end of
        `backing`.
      backing_format: the format of `backing`, which is recorded in the overlay
        in any case: `"raw"`, `"qcow2"`, or another block driver of QEMU, for
        which `size` has to be given. The default, `"auto"`, is what the first
        bytes of the file say. If both `size` and the format are given, the
        file is not read to make the overlay, and no remote executor needs it;
        that `size` is not less than that of the file is then not checked.
      out: file name of the image. The default is `<name>.qcow2`.
      cluster_size: the unit in which the overlay grows: a power of two from
        `"512"` to `"2M"`. The default is `"128K"` with `extended_l2`, and
        `"64K"` without.
      extended_l2: whether a cluster is divided into 32 subclusters that are
        copied on their own: small writes are several times faster and take
        less disk. It needs `compat = "1.1"`, clusters of `"16K"` or more, and
        QEMU 5.2 (2020) or newer; cloud-hypervisor and crosvm do not read it.
        The default is True wherever the other attributes allow it.
      lazy_refcounts: whether QEMU may put off updates of reference counts, and
        repair them after a crash. It needs `compat = "1.1"`. The default is
        False.
      compat: version of the format, by qemu-img's name: `"1.1"`, the default,
        is version 3, and `"0.10"` is version 2, for readers that know no
        other.
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
        lazy_refcounts = lazy_refcounts,
        out = out,
        virtual_size = size,
        **kwargs
    )

def _on_off(value):
    """Makes three values of a bool or None, for a default that depends on other attributes.

    What is neither is a select() between "on" and "off".
    """
    if type(value) == "bool":
        return "on" if value else "off"
    return value
