"""qemu_snapshot, as BUILD files call it."""

load(":boot.bzl", "DEFAULT_FAIL_ON")
load(":disk.bzl", "disk_attributes")
load(":snapshot_rule.bzl", _qemu_snapshot = "qemu_snapshot")

def qemu_snapshot(name, vm, disks = [], ready = "", expect = [], fail_on = DEFAULT_FAIL_ON, **kwargs):
    """A machine that starts where it was saved, instead of booting.

    <!-- not run: the build boots a guest -->
    ```starlark
    load("@rules_qcow2//:defs.bzl", "qemu_boot_test", "qemu_snapshot")

    qemu_snapshot(
        name = "booted",
        ready = "systemctl is-system-running --wait",
        vm = ":debian",
    )

    qemu_boot_test(
        name = "nginx_test",
        run_while_up = ":client",
        vm = ":booted",
    )
    ```

    The build boots the machine `vm`, waits until it is ready, and saves its RAM,
    the state of its devices and its writes to the disks. The target is a machine
    like a `qemu_vm`: tests take it as `vm`, and `bazel run` resumes it on the
    terminal. Each test that starts from it has its own layers, a private view of
    the RAM, the present time and its own random numbers.

    A machine can resume only where QEMU, its accelerator and the machine are as
    they were: the snapshot has a fingerprint of them, which is compared first. With
    KVM, the host's processor belongs to it. Set `accel = "tcg"` on `vm` if hosts of
    different kinds share a cache.

    The outputs differ from build to build: the guest's memory is not reproducible.
    See docs/snapshots.md for the effect on caches.

    Args:
      name: name of the target.
      vm: (label) the `qemu_vm` to boot. A snapshot of a snapshot is not supported.
      disks: (list of labels and of `disk_options()` values) disks instead of those of
        `vm`, such as a `qcow2_layer`.
      ready: (string) a line for the guest's shell, which the agent runs again and
        again until it succeeds. Then the guest is ready to be saved. Without it, the
        guest is ready when its agent answers and, if it runs systemd, systemd has
        started everything or failed to.
      expect: (list of strings) regular expressions that the console must show
        first, as in `qemu_boot_test`. Required for a machine without an agent.
      fail_on: (list of strings) regular expressions that end the build if the
        console shows them, as in `qemu_boot_test`.
      **kwargs: attributes that all rules have, such as `visibility`.
    """
    _qemu_snapshot(
        name = name,
        expect = expect,
        fail_on = fail_on,
        ready = ready,
        vm = vm,
        **(disk_attributes(disks) | kwargs)
    )
