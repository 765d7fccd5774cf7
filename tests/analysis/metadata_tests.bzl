"""Analysis tests of REPO.bazel."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("@package_metadata//providers:package_metadata_info.bzl", "PackageMetadataInfo")

_MetadataInfo = provider(
    doc = "The package metadata of a target.",
    fields = {"labels": "list of the labels of the targets that provide it"},
)

def _metadata_impl(_target, ctx):
    # Bazel 7 has the attribute by its older name only.
    name = "package_metadata" if hasattr(ctx.rule.attr, "package_metadata") else "applicable_licenses"
    return [_MetadataInfo(labels = [
        target.label
        for target in getattr(ctx.rule.attr, name)
        if PackageMetadataInfo in target
    ])]

_metadata = aspect(implementation = _metadata_impl)

# REPO.bazel makes Bazel add it to each target.
def _metadata_test_impl(ctx):
    env = analysistest.begin(ctx)
    labels = analysistest.target_under_test(env)[_MetadataInfo].labels
    asserts.equals(env, [Label("//:package_metadata")], labels)
    return analysistest.end(env)

_metadata_test = analysistest.make(
    _metadata_test_impl,
    extra_target_under_test_aspects = [_metadata],
)

def metadata_tests(name):
    """Declares the tests, and a suite of that name.

    Args:
      name: name of the suite.
    """
    tests = []
    for case, target in [
        ("root", "//:qcow2gen"),
        ("overlay", "//examples/first_overlay:disk"),
        ("library", "//go/qcow2"),
    ]:
        test = "%s_%s" % (name, case)
        _metadata_test(
            name = test,
            target_under_test = target,
        )
        tests.append(test)
    native.test_suite(name = name, tests = tests)
