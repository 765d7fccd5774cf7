"""Finds the UEFI firmware of a QEMU.

Distributions install it in different places, which they list in descriptors:
QEMU's docs/interop/firmware.json. The first descriptor that fits is used, in the
order of file names.
"""

_FOLDERS = ["/etc/qemu/firmware", "/usr/local/share/qemu/firmware", "/usr/share/qemu/firmware"]

# Firmware with these features needs more than two flash devices, or refuses an
# unsigned boot loader.
_UNWANTED_FEATURES = ["amd-sev-es", "amd-sev-snp", "enrolled-keys", "intel-tdx", "requires-smm", "secure-boot"]

def _folders(rctx, programs):
    """Returns the folders with descriptors, starting with those of the programs."""
    folders = []
    for program in programs.values():
        prefix = program.realpath.dirname.dirname
        folders.append(prefix.get_child("share").get_child("qemu").get_child("firmware"))
    folders += [rctx.path(folder) for folder in _FOLDERS]
    return {str(folder): folder for folder in folders if folder.exists}.values()

def _flash(descriptor):
    """Returns the code and vars of a descriptor, or None if they are not usable."""
    mapping = descriptor.get("mapping", {})
    code = mapping.get("executable", {})
    variables = mapping.get("nvram-template", {})
    if "uefi" not in descriptor.get("interface-types", []) or mapping.get("device") != "flash":
        return None
    if mapping.get("mode", "split") != "split" or code.get("format") != "raw" or variables.get("format") != "raw":
        return None
    for feature in descriptor.get("features", []):
        if feature in _UNWANTED_FEATURES:
            return None
    return code["filename"], variables["filename"]

def find_uefi(rctx, programs):
    """Returns the paths of UEFI firmware by attribute of qemu_toolchain.

    Args:
      rctx: the repository_ctx.
      programs: paths of QEMU's programs by name.

    Returns:
      A dict of paths.
    """
    found = {}
    for folder in _folders(rctx, programs):
        for file in sorted(folder.readdir(), key = lambda path: path.basename):
            if not file.basename.endswith(".json"):
                continue
            descriptor = json.decode(rctx.read(file), default = None)
            flash = _flash(descriptor) if type(descriptor) == "dict" else None
            if not flash or not rctx.path(flash[0]).exists or not rctx.path(flash[1]).exists:
                continue
            for target in descriptor.get("targets", []):
                arch = target.get("architecture")
                found.setdefault("uefi_code_%s" % arch, rctx.path(flash[0]))
                found.setdefault("uefi_vars_%s" % arch, rctx.path(flash[1]))
    return found
