"""Tests that compare an overlay with a recorded digest, in several configurations."""

load("@rules_shell//shell:sh_test.bzl", "sh_test")
load(":configurations.bzl", "for_execution", "optimized")

def golden_test(name, target, sha256):
    """Compares the output of a target in three configurations with a digest.

    Args:
      name: name of the test.
      target: label of a target with one output.
      sha256: the output's digest, in hexadecimal.
    """
    optimized(
        name = name + "_optimized",
        target = target,
    )
    for_execution(
        name = name + "_for_execution",
        target = target,
    )
    files = [
        target,
        name + "_optimized",
        name + "_for_execution",
    ]
    sh_test(
        name = name,
        size = "small",
        srcs = ["golden_test.sh"],
        args = [sha256] + ["$(rootpath %s)" % file for file in files],
        data = files,
    )
