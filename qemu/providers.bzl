"""QemuInfo: the provider of a QEMU."""

QemuInfo = provider(
    doc = "Provider of QEMU toolchains: programs and firmware.",
    fields = {
        "data_dirs": """\
A list of `File`: folders where QEMU looks for SeaBIOS, option ROMs and keymaps, or
one file of each folder. Empty if the programs find them without help.""",
        "data_runfiles": "The `runfiles` with all files of the data folders.",
        "qemu_img": "qemu-img: a struct as in `systems`, or None.",
        "systems": """\
System emulators by architecture, named as by QEMU (`x86_64`, `aarch64`): structs
with `executable`, a `File`, `runfiles`, the program's runfiles, and `files_to_run`, for
`tools` of an action.""",
        "uefi": """\
UEFI firmware by architecture: structs with `code`, a `File` with a raw flash
image, and `vars`, a `File` with the initial variables of a machine.""",
        "version": "Output of `--version`, as in `11.1.2`; empty if not known.",
    },
)
