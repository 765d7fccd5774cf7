"""Analysis tests of qcow2_image."""

load("//:defs.bzl", "qcow2_image")
load(":image_checks.bzl", "action_test", "declare_subject", "failure_test", "providers_test")

_BASE = "//tests/overlay:base.img"
_CHAIN = "//tests/overlay/upper:three_deep"

# Paths in a chain, from the image's folder of links downwards.
_THREE_DEEP = [
    "three_deep.qcow2",
    "three_deep.qcow2.backing/on_overlay.qcow2",
    "three_deep.qcow2.backing/on_overlay.qcow2.backing/on_source.qcow2",
    "three_deep.qcow2.backing/on_overlay.qcow2.backing/on_source.qcow2.backing/base.img",
]

def image_tests(name):
    """Declares the tests, and a suite of that name.

    Args:
      name: name of the suite.
    """
    suite = struct(name = name, tests = [])
    _action_tests(suite)
    _providers_tests(suite)
    _failure_tests(suite)
    native.test_suite(name = name, tests = suite.tests)

def _action_tests(suite):
    for name, image, inputs, arguments, no_arguments in [
        (
            "defaults",
            dict(src = _BASE),
            ["base.img"],
            ["convert -m 2 --standalone-source -O qcow2 -c -o cluster_size=65536,compression_type=zstd --info-output"],
            ["-b", "-f"],
        ),
        (
            "zlib",
            dict(src = _BASE, compression = "zlib"),
            ["base.img"],
            ["-c -o cluster_size=65536,compression_type=zlib "],
            [],
        ),
        (
            "not_compressed",
            dict(src = _BASE, compression = select({"//conditions:default": "none"})),
            ["base.img"],
            ["-o cluster_size=65536 "],
            ["-c"],
        ),
        (
            "sized",
            dict(src = _BASE, size = "20GiB"),
            ["base.img"],
            ["-o cluster_size=65536,size=21474836480,compression_type=zstd"],
            [],
        ),
        (
            "large_clusters",
            dict(src = _BASE, cluster_size = "2M"),
            ["base.img"],
            ["-o cluster_size=2097152,"],
            [],
        ),
        (
            "of_a_chain",
            dict(src = _CHAIN),
            ["base.img", "on_overlay.qcow2", "on_source.qcow2", "three_deep.qcow2"],
            ["-f qcow2"],
            ["--standalone-source"],
        ),
        (
            "on_a_file",
            dict(src = _CHAIN, backing = _BASE),
            ["base.img", "base.img", "on_overlay.qcow2", "on_source.qcow2", "three_deep.qcow2"],
            ["_on_a_file_subject.qcow2.backing/base.img --detect-backing-format --standalone-backing"],
            ["-F"],
        ),
        (
            "on_a_chain",
            dict(src = _BASE, backing = _CHAIN),
            ["base.img", "base.img", "on_overlay.qcow2", "on_source.qcow2", "three_deep.qcow2"],
            ["_on_a_chain_subject.qcow2.backing/three_deep.qcow2 -F qcow2"],
            ["--standalone-backing"],
        ),
    ]:
        test, subject = declare_subject(suite, qcow2_image, name, image)
        action_test(
            name = test,
            arguments = arguments,
            inputs = inputs,
            mnemonic = "Qcow2Image",
            no_arguments = no_arguments,
            target_under_test = subject,
        )

def _providers_tests(suite):
    for name, image, folder, chain in [
        ("providers_without_backing", dict(src = _BASE), "", []),
        ("providers_of_a_flattened_chain", dict(src = _CHAIN), "", []),
        ("providers_on_an_external_file", dict(src = _CHAIN, backing = "@external_base//:base.img"), "%s.qcow2.backing/", ["base.img"]),
        ("providers_on_a_chain", dict(src = _BASE, backing = _CHAIN), "%s.qcow2.backing/", _THREE_DEEP),
        ("providers_under_another_name", dict(src = _CHAIN, backing = _BASE, out = "folder/vdb.img"), "vdb.img.backing/", ["base.img"]),
    ]:
        test, subject = declare_subject(suite, qcow2_image, name, image)
        folder = folder.replace("%s", subject)
        providers_test(
            name = test,
            chain = [folder + path for path in chain],
            target_under_test = subject,
        )

def _failure_tests(suite):
    for name, image, message in [
        (
            "size_is_not_a_size",
            dict(src = _BASE, size = "20GB"),
            "_subject: size = \"20GB\" is not a size: ",
        ),
        (
            "size_is_zero",
            dict(src = _BASE, size = "0"),
            "_subject: size = \"0\" must be at least 1 byte; omit it to use the size of src",
        ),
        (
            "cluster_size_is_not_a_power_of_two",
            dict(src = _BASE, cluster_size = "96K"),
            "_subject: cluster_size = \"96K\" is 98304 bytes; it must be a power of two from 512 to 2M",
        ),
        (
            "src_is_two_files",
            dict(src = "//tests/analysis:two_files"),
            "'//tests/analysis:two_files' must produce a single file",
        ),
        (
            "src_is_a_directory",
            dict(src = "//tests/analysis:directory"),
            "_subject: src = \"@@//tests/analysis:directory\" is a directory; it must be a target with one file",
        ),
        (
            "backing_is_a_directory",
            dict(src = _BASE, backing = "//tests/analysis:directory"),
            "_subject: backing = \"@@//tests/analysis:directory\" is a directory; it must be a target with one file",
        ),
    ]:
        test, subject = declare_subject(suite, qcow2_image, name, image)
        failure_test(
            name = test,
            message = message,
            target_under_test = subject,
        )
