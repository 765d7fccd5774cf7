"""Analysis tests of qcow2gen_toolchain."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("@rules_shell//shell:sh_binary.bzl", "sh_binary")
load("//:defs.bzl", "qcow2gen_toolchain")

# An action's generator has its runfiles. If it does not have any, sandboxes do not
# lay out a runfiles tree.
def _executable_test_impl(ctx):
    env = analysistest.begin(ctx)
    info = analysistest.target_under_test(env)[platform_common.ToolchainInfo]
    asserts.equals(env, ctx.attr.type, type(info.executable))
    asserts.equals(env, "FilesToRunProvider", type(info.qcow2gen))
    return analysistest.end(env)

_executable_test = analysistest.make(
    _executable_test_impl,
    attrs = {"type": attr.string()},
)

def toolchain_tests(name):
    """Declares the tests, and a suite of that name.

    Args:
      name: name of the suite.
    """
    sh_binary(
        name = name + "_script",
        srcs = ["no_qemu.sh"],
        data = ["BUILD.bazel"],
        tags = ["manual"],
    )
    tests = []
    for case, qcow2gen, type in [
        ("alone", "//tools/qcow2gen", "File"),
        ("file", "no_qemu.sh", "File"),
        ("with_data", name + "_script", "FilesToRunProvider"),
    ]:
        test = "%s_%s" % (name, case)
        qcow2gen_toolchain(
            name = test + "_subject",
            qcow2gen = qcow2gen,
            tags = ["manual"],
        )
        _executable_test(
            name = test,
            target_under_test = test + "_subject",
            type = type,
        )
        tests.append(test)
    native.test_suite(name = name, tests = tests)
