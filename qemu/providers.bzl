"""What a QEMU is to a rule."""

QemuInfo = provider(
    doc = "A QEMU: its programs and the firmware that comes with it.",
    fields = {
        "data": """\
A list of `File`: folders that QEMU is to look for its data in (SeaBIOS, option
ROMs, keymaps), or a file of each. Empty where the programs find their own.""",
        "data_runfiles": "The `runfiles` with all files of the data folders.",
        "qemu_img": "qemu-img: a struct as in `systems`, or None.",
        "qemu_io": "qemu-io: a struct as in `systems`, or None.",
        "systems": """\
System emulators by architecture, by QEMU's name for it (`x86_64`, `aarch64`):
structs with `executable`, a `File`, and `runfiles`, what it takes to run it.""",
        "uefi": """\
UEFI firmware by architecture: structs with `code`, a raw flash image as a
`File`, and `vars`, the image that a machine's own variables start as.""",
        "version": "What `--version` says, as in `11.1.2`; empty if not known.",
    },
)
