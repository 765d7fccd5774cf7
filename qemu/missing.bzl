"""What stands for QEMU where there is none."""

def _missing_qemu_impl(ctx):
    # Elsewhere the target is incompatible, and nothing evaluates this.
    fail("%s: there is no QEMU for this platform, and --@rules_qcow2//qemu:required asks for one. %s" % (ctx.label, ctx.attr.reason))

_missing_qemu = rule(
    implementation = _missing_qemu_impl,
    attrs = {"reason": attr.string(mandatory = True)},
)

def missing_qemu(name, reason, constraint, **kwargs):
    """A toolchain without QEMU: what needs it is incompatible.

    Bazel carries incompatibility from a toolchain to the targets that resolved
    it: `bazel test //...` skips them, and one that is asked for by name is
    refused with the name of the constraint. With
    `--@rules_qcow2//qemu:required` either is an error.

    Args:
      name: name of the target.
      reason: a sentence for the error.
      constraint: a constraint_value no platform has, whose name says what is
        missing: it is all of the reason that Bazel shows of what it skips.
      **kwargs: attributes that all rules have.
    """
    _missing_qemu(
        name = name,
        reason = reason,
        target_compatible_with = select({
            Label("//qemu:is_required"): [],
            "//conditions:default": [constraint],
        }),
        **kwargs
    )
