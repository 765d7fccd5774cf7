"""Repositories of prebuilt programs."""

load(":lock.bzl", "AGENT", "GUESTS", "PLATFORMS", "TOOLCHAINS")

_FILE = """\
package(default_visibility = ["//visibility:public"])

exports_files(["{file}"])
"""

def _file_name(program, platform):
    return program + (".exe" if platform.startswith("windows_") else "")

def _prebuilt_program_impl(rctx):
    program = rctx.attr.program
    file = _file_name(program, rctx.attr.platform)
    result = rctx.download(
        rctx.attr.urls,
        file,
        allow_fail = True,
        executable = True,
        sha256 = rctx.attr.sha256,
    )
    if not result.success:
        fail("%s: %s for %s, with the SHA-256 %s, could not be downloaded from %s; the warnings above say why: set mirrors of prebuilt.lock, or register the toolchains that compile it (docs/closed-networks.md)" % (
            rctx.attr.lock,
            program,
            rctx.attr.platform,
            rctx.attr.sha256,
            " or ".join(rctx.attr.urls),
        ))
    rctx.file("BUILD.bazel", _FILE.format(file = file))

prebuilt_program = repository_rule(
    implementation = _prebuilt_program_impl,
    doc = "One program for one platform, downloaded when it is used.",
    attrs = {
        "lock": attr.string(mandatory = True),
        "platform": attr.string(mandatory = True),
        "program": attr.string(mandatory = True),
        "sha256": attr.string(mandatory = True),
        "urls": attr.string_list(mandatory = True),
    },
)

_HEADER = """\
load("@rules_qcow2//private:toolchain.bzl", "qcow2gen_toolchain", "vmboot_toolchain")
load("@rules_qcow2//tools/prebuilt:missing.bzl", "missing_program")

package(default_visibility = ["//visibility:public"])
"""

# A build with one of its programs fetches all of them.
_TOOLCHAIN = """
{rule}(
    name = "programs_{name}",
{programs}
)

toolchain(
    name = "{name}",
    exec_compatible_with = {constraints},
    toolchain = ":programs_{name}",
    toolchain_type = "@rules_qcow2//tools/{type}:toolchain_type",
)
"""

# Bazel registers the toolchains of a package in the order of their names: this one is last.
_MISSING = """
missing_program(
    name = "missing_{type}",
    reason = "{reason}",
)

toolchain(
    name = "zz_missing_{type}",
    toolchain = ":missing_{type}",
    toolchain_type = "@rules_qcow2//tools/{type}:toolchain_type",
)
"""

# The agents of //guest.
_AGENT = """
alias(
    name = "agent_{arch}",
    actual = "{actual}",
)
"""

_MISSING_AGENT = """
missing_program(
    name = "agent_{arch}",
    reason = "{lock} does not have the agent for {arch}, which prebuilt.lock(required = True) needs; use the lock file of a release, or omit required",
)
"""

def _agents(rctx):
    """Returns the targets for the agents, by the guest's architecture."""
    build = []
    for arch, platform in GUESTS.items():
        name = "%s_%s" % (AGENT, platform)
        if name in rctx.attr.names:
            build.append(_AGENT.format(actual = "@%s//:%s" % (name, AGENT), arch = arch))
        elif rctx.attr.required:
            build.append(_MISSING_AGENT.format(arch = arch, lock = rctx.attr.lock))
        else:
            build.append(_AGENT.format(actual = "@rules_qcow2//guest/agentd:agentd_" + platform, arch = arch))
    return build

def _toolchain(name, type, platform):
    """Returns the targets for the toolchain of a type for a platform."""
    toolchain = TOOLCHAINS[type]
    return _TOOLCHAIN.format(
        constraints = repr(PLATFORMS[platform]),
        name = name,
        programs = "\n".join([
            "    %s = \"@%s_%s//:%s\"," % (attribute, program, platform, _file_name(program, platform))
            for attribute, program in toolchain.programs.items()
        ]),
        rule = toolchain.rule,
        type = type,
    )

def _prebuilt_toolchains_impl(rctx):
    build = [_HEADER] + _agents(rctx)
    for type, toolchain in TOOLCHAINS.items():
        programs = toolchain.programs.values()
        platforms = [
            platform
            for platform in PLATFORMS
            if all(["%s_%s" % (program, platform) in rctx.attr.names for program in programs])
        ]
        for platform in platforms:
            build.append(_toolchain("%s_%s" % (type, platform), type, platform))
        if rctx.attr.required:
            build.append(_MISSING.format(
                type = type,
                reason = "%s does not have %s for this platform, which prebuilt.lock(required = True) needs; it has %s: use another lock file, or omit required" % (
                    rctx.attr.lock,
                    ", ".join(programs),
                    ", ".join(platforms) or "none",
                ),
            ))
    rctx.file("BUILD.bazel", "".join(build))

prebuilt_toolchains = repository_rule(
    implementation = _prebuilt_toolchains_impl,
    doc = "The toolchains of prebuilt programs, and the agents. They name the repositories of programs and fetch nothing.",
    attrs = {
        "lock": attr.string(mandatory = True),
        "names": attr.string_list(doc = "The repositories of programs."),
        "required": attr.bool(),
    },
)
