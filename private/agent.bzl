"""The agent that runs in guests, as a file for machines that need it."""

load(":toolchain.bzl", "GUEST_AGENT_TOOLCHAIN_TYPE")

# Values of the attribute `agent` for which the host provides the program.
PROVIDED_AGENTS = ["cloud-init", "initrd", "systemd"]

def agent_attributes(attributes):
    """Returns the attribute with the agent's program, for a machine that gets it from the host.

    A macro decides this, because the rules must not depend on the agent
    otherwise: Bazel would analyze it, and compile or download it.

    Args:
      attributes: the attributes of the machine, a dict.

    Returns:
      A dict of keyword arguments for the rule.
    """
    agent, arch = attributes.get("agent", "auto"), attributes.get("arch", "x86_64")
    if agent in PROVIDED_AGENTS or agent == "auto" and attributes.get("kernel"):
        if type(arch) == "select":
            fail("arch is a select(), which is not supported for a machine with an agent; declare one machine per architecture, or set agent = \"none\"")
        return {"agent_program": Label("//guest:agent_" + arch)}
    return {}

def _guest_agent_impl(ctx):
    agents = ctx.toolchains[GUEST_AGENT_TOOLCHAIN_TYPE].agents
    if ctx.attr.arch not in agents:
        fail("the toolchain of type %s does not provide the agent for %s; set agent = \"none\"" % (GUEST_AGENT_TOOLCHAIN_TYPE, ctx.attr.arch))
    return [DefaultInfo(files = depset([agents[ctx.attr.arch]]))]

guest_agent = rule(
    implementation = _guest_agent_impl,
    doc = "The agent for guests of an architecture, from its toolchain.",
    attrs = {"arch": attr.string(mandatory = True)},
    toolchains = [GUEST_AGENT_TOOLCHAIN_TYPE],
)
