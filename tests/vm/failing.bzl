"""Boot tests that must fail."""

load("//:defs.bzl", "qemu_boot_test")

_WRITTEN = "sector 2: written"

_TESTS = {
    "after_hangs": dict(expect = [_WRITTEN], run_after = ":hangs_after"),
    "bad_argument": dict(qemu_args = ["-device", "no-such-device"]),
    "bad_pattern": dict(expect = ["("]),
    "does_not_end": dict(exit_status = 0, time_limit = 15),
    "empty_image": dict(disks = [":empty"]),
    "ends_before_hook": dict(expect = [_WRITTEN], qemu_args = ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"], run_while_up = ":hangs_after"),
    "ends_too_early": dict(exit_status = 33, expect = [_WRITTEN, "never"]),
    "fail_on": dict(expect = ["never"], fail_on = ["sector \\d"]),
    "hangs": dict(expect = ["never"]),
    "hook_fails": dict(expect = [_WRITTEN], run_while_up = ":fails"),
    "never_shown": dict(expect = [_WRITTEN, "never"], time_limit = 15),
    "no_boot_loader": dict(disks = [":blank"], expect = ["never"]),
    "no_image": dict(disks = [":broken"]),
    "resets": dict(disks = [":reset"], exit_status = 0),
    "wrong_exit_status": dict(exit_status = 35),
}

FAILING_TESTS = [":" + name for name in _TESTS]

def failing_tests(name, disk):  # buildifier: disable=unused-variable
    """Declares the tests.

    Args:
      name: not used.
      disk: label of the disk that boots.
    """
    for test, attributes in _TESTS.items():
        qemu_boot_test(
            name = test,
            size = "small",
            tags = ["manual"],
            **(dict(disks = [disk], memory = "32M") | attributes)
        )
