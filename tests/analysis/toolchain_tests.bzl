"""Analysis tests of toolchains."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("@rules_go//go:def.bzl", "GoArchive")
load("@rules_shell//shell:sh_binary.bzl", "sh_binary")
load("//:defs.bzl", "qcow2_check_test", "qcow2gen_toolchain")

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

# What a consumer of a rule compiles: the Go packages of its program. Who uses only disks
# must not compile machines.
def _packages_test_impl(ctx):
    env = analysistest.begin(ctx)
    programs = [
        action.inputs.to_list()[0].owner
        for action in analysistest.target_actions(env)
        if action.mnemonic == "ExecutableSymlink"
    ]
    asserts.equals(env, [ctx.attr.program.label], programs)
    packages = [data.importpath for data in ctx.attr.program[GoArchive].transitive.to_list()]
    asserts.equals(env, sorted(ctx.attr.packages), sorted(packages))
    return analysistest.end(env)

_packages_test = analysistest.make(
    _packages_test_impl,
    attrs = {
        "packages": attr.string_list(),
        "program": attr.label(providers = [GoArchive]),
    },
    config_settings = {
        "//command_line_option:extra_toolchains": str(Label("//tests/analysis:with_qemu_img_toolchain")),
    },
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
    qcow2_check_test(
        name = name + "_check_subject",
        image = "//tests/overlay:on_source",
        tags = ["manual"],
    )
    _packages_test(
        name = name + "_check",
        packages = [
            "github.com/bazelbuild/rules_go/go/runfiles",
            "github.com/rules-qcow2/rules_qcow2/tools/qcow2check",
        ],
        program = "//tools/qcow2check",
        target_under_test = name + "_check_subject",
    )
    native.test_suite(name = name, tests = tests + [name + "_check"])
