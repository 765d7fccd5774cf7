"""qemu_guest_test, as BUILD files call it."""

load(":boot.bzl", "DEFAULT_FAIL_ON")
load(":disk.bzl", "disk_attributes")
load(":guest_test_rule.bzl", _qemu_guest_test = "qemu_guest_test")

def qemu_guest_test(name, test, vm, disks = [], fail_on = DEFAULT_FAIL_ON, **kwargs):
    """Runs a test inside a guest.

    <!-- not run: it needs a machine with an agent -->
    ```starlark
    load("@rules_go//go:def.bzl", "go_test")
    load("@rules_qcow2//:defs.bzl", "qemu_guest_test")

    go_test(
        name = "driver_test",
        srcs = ["driver_test.go"],
    )

    qemu_guest_test(
        name = "driver_vm_test",
        test = ":driver_test",
        vm = ":debian",
    )
    ```

    The test is an unchanged target of any language. It runs as a process in the guest,
    with its runfiles, arguments and environment. Its outputs, exit status, `test.xml`,
    undeclared outputs and shard status go to Bazel, so `--test_filter`, `shard_count`,
    `--test_arg`, `--test_env`, `--runs_per_test` and `--test_output=streamed` work as
    outside. See docs/guest-tests.md for the whole contract.

    `bazel run :driver_vm_test -- --interactive` starts the machine with the runfiles,
    and a shell there. `bazel test :driver_vm_test --test_arg=--hold
    --test_output=streamed` keeps the guest of a test that fails, and prints a command that
    opens a shell in it.

    Args:
      name: name of the target.
      test: (label) the test: any executable test target. The guest must be able to run
        it: for Go, `pure = "on"` makes it independent of the guest's libraries.
      vm: (label) a `qemu_vm` or `qemu_snapshot` with an agent. With a snapshot, the test
        starts in less than a second.
      disks: (list of labels and of `disk_options()` values) disks instead of those of
        `vm`, which cannot be a snapshot.
      fail_on: (list of strings) regular expressions that end the test if the console
        shows them, as in `qemu_boot_test`.
      **kwargs: attributes that all tests have, such as `timeout`, `args` and
        `shard_count`. `args` follow those of `test`.
    """
    _qemu_guest_test(
        name = name,
        fail_on = fail_on,
        test = test,
        vm = vm,
        **(disk_attributes(disks) | kwargs)
    )
