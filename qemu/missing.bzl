"""The toolchain without QEMU."""

def _missing_qemu_impl(ctx):
    # Evaluated only with --@rules_qcow2//qemu:required: otherwise the target is
    # incompatible.
    fail("%s: QEMU is missing for this platform, and --@rules_qcow2//qemu:required is set. %s" % (ctx.label, ctx.attr.reason))

_missing_qemu = rule(
    implementation = _missing_qemu_impl,
    attrs = {"reason": attr.string(mandatory = True)},
)

def missing_qemu(name, reason, constraint, **kwargs):
    """A toolchain without QEMU: targets that need it are incompatible.

    A toolchain's incompatibility extends to the targets that resolve it:
    `bazel test //...` skips them, and `bazel test` of one by name fails with the
    name of the constraint. With `--@rules_qcow2//qemu:required` both are errors.

    Args:
      name: name of the target.
      reason: a sentence for the error.
      constraint: a constraint_value that no platform has. For a skipped target,
        Bazel shows only its name, so the name has the reason.
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
