"""The format of the lock file of prebuilt programs."""

# The toolchains of programs that rules run, by the names of the folders in //tools that
# have their types: the rule that declares one, and its attributes with their programs.
TOOLCHAINS = {
    "qcow2convert": struct(rule = "qcow2gen_toolchain", programs = {"qcow2gen": "qcow2convert"}),
    "qcow2gen": struct(rule = "qcow2gen_toolchain", programs = {"qcow2gen": "qcow2gen"}),
    "vmboot": struct(rule = "vmboot_toolchain", programs = {
        "qcow2check": "qcow2check",
        "vm": "vm",
        "vmboot": "vmboot",
    }),
}

# The program that runs in guests.
AGENT = "agent"

PROGRAMS = [program for type in TOOLCHAINS.values() for program in type.programs.values()] + [AGENT]

# Platforms of guests, by QEMU's names of architectures.
GUESTS = {
    "aarch64": "linux_arm64",
    "x86_64": "linux_amd64",
}

# Constraints of the platforms that programs are released for, by Go's names of platforms.
PLATFORMS = {
    "%s_%s" % (go_os, go_arch): ["@platforms//os:" + os, "@platforms//cpu:" + cpu]
    for go_os, os in [("darwin", "macos"), ("linux", "linux"), ("windows", "windows")]
    for go_arch, cpu in [("amd64", "x86_64"), ("arm64", "aarch64")]
}

def parse_lock(text, name):
    """Reads a lock file, and fails if it is not valid.

    Args:
      text: its content: `{"qcow2gen": {"linux_amd64": {"sha256": ..., "urls": [...]}}}`.
      name: its name in errors.

    Returns:
      The content, a dict.
    """
    lock = json.decode(text, default = None)
    if type(lock) != "dict":
        fail("%s: a lock file of prebuilt programs must be a JSON object" % name)
    for program, platforms in lock.items():
        if program not in PROGRAMS:
            fail("%s: unknown program \"%s\"; use %s" % (name, program, ", ".join(PROGRAMS)))
        if type(platforms) != "dict":
            fail("%s: \"%s\" must be a JSON object of platforms" % (name, program))
        for platform, file in platforms.items():
            if platform not in PLATFORMS:
                fail("%s: unknown platform \"%s\" of %s; use %s" % (name, platform, program, ", ".join(PLATFORMS)))
            _check_file(file, "%s: %s for %s" % (name, program, platform))
    return lock

def _check_file(file, name):
    if type(file) != "dict" or sorted(file) != ["sha256", "urls"]:
        fail("%s must have exactly the keys \"sha256\" and \"urls\"" % name)
    sha256 = file["sha256"]
    if type(sha256) != "string" or len(sha256) != 64 or sha256.strip("0123456789abcdef"):
        fail("%s: sha256 = %s must be 64 lower-case hexadecimal digits" % (name, repr(sha256)))
    urls = file["urls"]
    if type(urls) != "list" or not urls or [url for url in urls if type(url) != "string" or "/" not in url]:
        fail("%s: urls = %s must be a list of at least one URL" % (name, repr(urls)))
