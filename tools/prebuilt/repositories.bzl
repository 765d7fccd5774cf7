"""Repositories of prebuilt programs."""

load(":lock.bzl", "AGENT", "GUESTS", "PLATFORMS", "TOOLS")

_FILE = """\
package(default_visibility = ["//visibility:public"])

exports_files(["{file}"])
"""

_TOOL = """\
load("@rules_qcow2//private:toolchain.bzl", "{rule}_toolchain")

package(default_visibility = ["//visibility:public"])

exports_files(["{file}"])

{rule}_toolchain(
    name = "toolchain",
    {rule} = "{file}",
)
"""

def _prebuilt_program_impl(rctx):
    program = rctx.attr.program
    file = program + (".exe" if rctx.attr.platform.startswith("windows_") else "")
    result = rctx.download(
        rctx.attr.urls,
        file,
        allow_fail = True,
        executable = True,
        sha256 = rctx.attr.sha256,
    )
    if not result.success:
        fail("%s: nothing with the SHA-256 %s of %s for %s could be downloaded from %s" % (
            rctx.attr.lock,
            rctx.attr.sha256,
            program,
            rctx.attr.platform,
            " or ".join(rctx.attr.urls),
        ))
    build = _FILE if program == AGENT else _TOOL
    rctx.file("BUILD.bazel", build.format(file = file, rule = TOOLS.get(program)))

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
load("@rules_qcow2//tools/prebuilt:missing.bzl", "missing_program")

package(default_visibility = ["//visibility:public"])
"""

_TOOLCHAIN = """
toolchain(
    name = "{name}",
    exec_compatible_with = {constraints},
    toolchain = "@{name}//:toolchain",
    toolchain_type = "@rules_qcow2//tools/{program}:toolchain_type",
)
"""

# Bazel registers the toolchains of a package in the order of their names: this one is last.
_MISSING = """
missing_program(
    name = "missing_{program}",
    reason = "{reason}",
)

toolchain(
    name = "zz_missing_{program}",
    toolchain = ":missing_{program}",
    toolchain_type = "@rules_qcow2//tools/{program}:toolchain_type",
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
    reason = "{lock} does not have the agent for {arch}, which prebuilt.lock(required = True) needs",
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
            build.append(_AGENT.format(actual = "@rules_qcow2//guest/agent:agent_" + platform, arch = arch))
    return build

def _prebuilt_toolchains_impl(rctx):
    build = [_HEADER] + _agents(rctx)
    tools = {name: platform for name, platform in rctx.attr.names.items() if name.partition("_")[0] in TOOLS}
    for name, platform in tools.items():
        build.append(_TOOLCHAIN.format(
            constraints = repr(PLATFORMS[platform]),
            name = name,
            program = name.partition("_")[0],
        ))
    for program in TOOLS if rctx.attr.required else []:
        platforms = [platform for name, platform in tools.items() if name.startswith(program + "_")]
        build.append(_MISSING.format(
            program = program,
            reason = "%s does not have %s for this platform, which prebuilt.lock(required = True) needs; it has %s" % (
                rctx.attr.lock,
                program,
                ", ".join(platforms) or "none",
            ),
        ))
    rctx.file("BUILD.bazel", "".join(build))

prebuilt_toolchains = repository_rule(
    implementation = _prebuilt_toolchains_impl,
    doc = "The toolchains of prebuilt programs, and the agents. They name the repositories of programs and fetch nothing.",
    attrs = {
        "lock": attr.string(mandatory = True),
        "names": attr.string_dict(doc = "Platforms by name of the repository."),
        "required": attr.bool(),
    },
)
