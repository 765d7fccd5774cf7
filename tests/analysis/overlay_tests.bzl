"""Analysis tests of qcow2_overlay."""

load("//:defs.bzl", "qcow2_overlay")
load(":image_checks.bzl", "action_test", "declare_subject", "failure_test", "providers_test")

def overlay_tests(name):
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
    base = "//tests/overlay:base.img"
    for name, overlay, inputs, arguments, no_arguments in [
        (
            "known_size_and_format_needs_no_input",
            dict(backing = base, backing_format = "raw", size = "20G"),
            [],
            ["-u -F raw", "21474836480", "extended_l2=on"],
            ["--detect-backing-format"],
        ),
        (
            "known_size_reads_the_format",
            dict(backing = base, size = "20G"),
            ["base.img"],
            ["--detect-backing-format"],
            ["-u", "-F"],
        ),
        (
            "known_format_reads_the_size",
            dict(backing = base, backing_format = "qcow2"),
            ["base.img"],
            ["-F qcow2"],
            ["-u"],
        ),
        (
            "foreign_format_with_a_size",
            dict(backing = base, backing_format = "vmdk", size = "1G"),
            [],
            ["-u -F vmdk"],
            [],
        ),
        (
            "overlay_below_is_known_by_its_metadata",
            dict(backing = "//tests/overlay/upper:three_deep"),
            ["three_deep.qcow2.json"],
            ["-F qcow2"],
            ["-u"],
        ),
        (
            "overlay_below_is_checked_where_the_size_is_known",
            dict(backing = "//tests/overlay/upper:three_deep", backing_format = "qcow2", size = "1T"),
            ["three_deep.qcow2.json"],
            ["--no-shrink", "1099511627776"],
            ["-u"],
        ),
        (
            "defaults",
            dict(backing = base),
            ["base.img"],
            ["-o compat=1.1,cluster_size=131072,extended_l2=on"],
            [],
        ),
        (
            "without_extended_l2",
            dict(backing = base, extended_l2 = select({"//conditions:default": "off"})),
            ["base.img"],
            ["-o compat=1.1,cluster_size=65536,extended_l2=off"],
            [],
        ),
        (
            "version_2",
            dict(backing = base, compat = "0.10"),
            ["base.img"],
            ["-o compat=0.10,cluster_size=65536,extended_l2=off"],
            [],
        ),
        (
            "clusters_too_small_for_extended_l2",
            dict(backing = base, cluster_size = "4K"),
            ["base.img"],
            ["-o compat=1.1,cluster_size=4096,extended_l2=off"],
            [],
        ),
    ]:
        test, subject = declare_subject(suite, qcow2_overlay, name, overlay)
        action_test(
            name = test,
            arguments = arguments,
            inputs = inputs,
            mnemonic = "Qcow2Overlay",
            no_arguments = no_arguments,
            target_under_test = subject,
        )

def _providers_tests(suite):
    for name, overlay, folder, chain in [
        (
            "on_a_file",
            dict(backing = "//tests/overlay:base.img"),
            "%s.qcow2.backing/",
            ["base.img"],
        ),
        (
            "on_an_external_file",
            dict(backing = "@external_base//:base.img"),
            "%s.qcow2.backing/",
            ["base.img"],
        ),
        (
            "on_a_chain",
            dict(backing = "//tests/overlay/upper:three_deep"),
            "%s.qcow2.backing/",
            [
                "three_deep.qcow2",
                "three_deep.qcow2.backing/on_overlay.qcow2",
                "three_deep.qcow2.backing/on_overlay.qcow2.backing/on_source.qcow2",
                "three_deep.qcow2.backing/on_overlay.qcow2.backing/on_source.qcow2.backing/base.img",
            ],
        ),
        (
            "under_another_name",
            dict(backing = "//tests/overlay:base.img", out = "folder/vda.img"),
            "vda.img.backing/",
            ["base.img"],
        ),
    ]:
        test, subject = declare_subject(suite, qcow2_overlay, name, overlay)
        folder = folder.replace("%s", subject)
        providers_test(
            name = test,
            chain = [folder + path for path in chain],
            target_under_test = subject,
        )

def _failure_tests(suite):
    base = "//tests/overlay:base.img"
    for name, overlay, message in [
        (
            "size_is_not_a_size",
            dict(backing = base, size = "20GB"),
            "_subject: size = \"20GB\" is not a size: ",
        ),
        (
            "size_is_zero",
            dict(backing = base, size = "0"),
            "_subject: size = \"0\" must be at least 1 byte; omit it to use the base's size",
        ),
        (
            "size_is_too_large",
            dict(backing = base, size = "8E"),
            "_subject: size = \"8E\" is not a size: QEMU supports at most 9223372036854775807 bytes",
        ),
        (
            "cluster_size_is_not_a_power_of_two",
            dict(backing = base, cluster_size = "96K"),
            "_subject: cluster_size = \"96K\" is 98304 bytes; it must be a power of two from 512 to 2M",
        ),
        (
            "cluster_size_is_too_large",
            dict(backing = base, cluster_size = "4M"),
            "_subject: cluster_size = \"4M\" is 4194304 bytes",
        ),
        (
            "version_2_does_not_support_extended_l2",
            dict(backing = base, compat = "0.10", extended_l2 = True),
            "_subject: extended_l2 = True requires compat = \"1.1\"",
        ),
        (
            "small_clusters_do_not_support_extended_l2",
            dict(backing = base, cluster_size = "8K", extended_l2 = True),
            "_subject: extended_l2 = True requires cluster_size = \"16K\" or more, not \"8K\"",
        ),
        (
            "foreign_format_without_a_size",
            dict(backing = base, backing_format = "vmdk"),
            "_subject: backing_format = \"vmdk\" requires size",
        ),
        (
            "overlay_is_not_raw",
            dict(backing = "//tests/overlay:on_source", backing_format = "raw"),
            "_subject: backing_format = \"raw\" contradicts backing = \"@@//tests/overlay:on_source\", which is qcow2",
        ),
        (
            "backing_is_two_files",
            dict(backing = "//tests/analysis:two_files"),
            "'//tests/analysis:two_files' must produce a single file",
        ),
    ]:
        test, subject = declare_subject(suite, qcow2_overlay, name, overlay)
        failure_test(
            name = test,
            message = message,
            target_under_test = subject,
        )
