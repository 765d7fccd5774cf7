"""Overlays of many sizes and cluster sizes."""

load("@rules_qcow2//:defs.bzl", "qcow2_overlay")

_CLUSTER_SIZES = ["512", "4K", "16K", "64K", "128K", "2M", None]

# The virtual size of the base is 4M.
_SIZES = [None, "4194305", "5M", "100M", "1G", "3.5G", "20G", "100G"]

_COUNT = 50

DISKS = [":disk%d" % i for i in range(_COUNT)]

def disks(name, backing):  # buildifier: disable=unused-variable
    """Declares the disks.

    Args:
      name: not used.
      backing: label of their base.
    """
    for i in range(_COUNT):
        cluster_size = _CLUSTER_SIZES[i % len(_CLUSTER_SIZES)]
        version_2 = i % 5 == 4
        qcow2_overlay(
            name = "disk%d" % i,
            size = _SIZES[i % len(_SIZES)],
            testonly = True,
            backing = backing,
            cluster_size = cluster_size,
            compat = "0.10" if version_2 else None,
            extended_l2 = False if i % 3 == 2 else None,
        )
