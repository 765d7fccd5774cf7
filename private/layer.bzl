"""qcow2_layer, as BUILD files call it."""

load(":boot.bzl", "DEFAULT_FAIL_ON")
load(":disk.bzl", "disk_attributes")
load(":layer_rule.bzl", _qcow2_layer = "qcow2_layer")

def guest_path(path, mode = None, owner = None, unpack = False):
    """Says where a file of `qcow2_layer` goes in the guest, and how: a value of `files`.

    <!-- not run: the build boots a guest -->
    ```starlark
    load("@rules_qcow2//:defs.bzl", "guest_path", "qcow2_layer")

    qcow2_layer(
        name = "with_app",
        files = {
            ":app": "/usr/local/bin/app",
            ":password": guest_path("/etc/app/password", mode = "0600", owner = "app:app"),
            ":site.tar.gz": guest_path("/srv", unpack = True),
        },
        vm = ":debian",
    )
    ```

    Args:
      path: (string) an absolute path, as in `files`.
      mode: (string) the permissions of files, in octal, as in `"0640"`. Folders get
        `0755`. The default is `0755` for the program of an executable target, and
        `0644` for other files, also for scripts that are source files. The files of
        folders keep theirs, which Bazel sets to `0555` in outputs.
      owner: (string) user, or user and group, which the guest must know, as in
        `"www-data:www-data"`. The default is root.
      unpack: (bool) whether the file is a tar archive that the guest's `tar` unpacks
        in the folder `path`, with the owners and modes in it. Excludes `mode` and
        `owner`.

    Returns:
      The value.
    """
    return struct(path = path, mode = mode or "", owner = owner or "", unpack = unpack)

def qcow2_layer(name, vm, disks = [], files = {}, run = [], ready = "", expect = [], exit_status = 0, seal = None, fail_on = DEFAULT_FAIL_ON, **kwargs):
    """Boots a machine as a build action, and keeps the guest's writes to its first disk.

    <!-- not run: the build boots a guest -->
    ```starlark
    load("@rules_qcow2//:defs.bzl", "qcow2_layer", "qemu_boot_test")

    qcow2_layer(
        name = "with_nginx",
        files = {
            ":nginx_debs": "/tmp/debs/",
            ":site.conf": "/etc/nginx/conf.d/site.conf",
        },
        run = ["dpkg -i /tmp/debs/*.deb"],
        vm = ":debian",
    )

    qemu_boot_test(
        name = "nginx_test",
        disks = [":with_nginx"],
        run_while_up = ":client",
        vm = ":debian",
    )
    ```

    The result is an image like that of `qcow2_overlay`, with the machine's first disk
    as its backing file. It has only the guest's writes. Bazel caches it: the guest
    boots again only if the machine, its disks, `files` or `run` change. A layer on a
    layer has the lower one in `disks`.

    The build waits until the guest is ready, copies `files`, runs the steps of `run`,
    seals the disk, and powers the guest off. If a step's exit status is not 0, or the
    guest panics, hangs or does not power off, the build fails, and there is no image.
    The steps' outputs are in `<name>.log`, the console in `<name>.console.log`
    (`--output_groups=logs`).

    The bytes differ from build to build. docs/layers.md lists the fixed parts and
    describes the effect on caches.

    A guest without an agent, of any operating system, gets `files` on a FAT disk. It
    must do everything at its boot, and power off. `expect` and `exit_status` decide
    whether it succeeded.

    Args:
      name: name of the target. The image is `<name>.qcow2`.
      vm: (label) the `qemu_vm` to boot. A snapshot is not supported. The guest's
        writes to other disks than the first are thrown away.
      disks: (list of labels and of `disk_options()` values) disks instead of those of
        `vm`: a lower layer, or an overlay that is larger than the base.
      files: (dict of labels to paths or `guest_path()` values) files for the guest,
        and their absolute paths there. The path is the name of the copy, or,
        if it ends with `/`, the folder that the copy is put in. A target with several
        files needs a folder. Missing folders are made. Of an executable target only
        the program is copied, without its runfiles. For a guest without an agent, the
        path is a file name on the FAT disk. A `select()` can have paths only.
      run: (list of strings) the steps: lines for the guest's shell (`/bin/sh -e`), and
        labels of scripts or programs, which begin with `:`, `//` or `@` and are run in
        the guest. They run as root in `/`. A `select()` can have lines only.
      ready: (string) a line for the guest's shell that must succeed before the first
        step; as in `qemu_snapshot`.
      expect: (list of strings) regular expressions that the console must show before
        the first step; as in `qemu_boot_test`.
      exit_status: (int) for a guest without an agent, the exit status that QEMU must
        end with, as in `qemu_boot_test`.
      seal: (bool) whether to remove, at the end, the machine ID, ssh host keys, random
        seeds, logs and caches, and to run `fstrim`. docs/layers.md has the list, and
        the log a line for each change. The default is True if the guest
        has an agent.
      fail_on: (list of strings) regular expressions that end the build if the
        console shows them, as in `qemu_boot_test`.
      **kwargs: attributes that all rules have, such as `visibility`.
    """
    _qcow2_layer(
        name = name,
        exit_status = exit_status,
        expect = expect,
        fail_on = fail_on,
        files = _files(files),
        ready = ready,
        run = _run(run),
        scripts = _scripts(run),
        seal = {None: -1, False: 0, True: 1}[seal],
        vm = vm,
        **(disk_attributes(disks) | kwargs)
    )

def _files(files):
    """Converts the values of a dict to strings."""
    if type(files) != "dict":
        return files
    return {
        label: value if type(value) == "string" else json.encode(value)
        for label, value in files.items()
    }

def _is_label(step):
    return type(step) == "Label" or step.startswith("//") or step.startswith("@") or step.startswith(":") and " " not in step

def _label(step):
    return str(native.package_relative_label(step))

def _run(steps):
    """Converts labels to strings that do not depend on the package."""
    if type(steps) != "list":
        return steps
    return [_label(step) if _is_label(step) else step for step in steps]

def _scripts(steps):
    """Returns the labels among the steps, each with its name in the list."""
    if type(steps) != "list":
        return {}
    return {_label(step): _label(step) for step in steps if _is_label(step)}
