"""What stands for a program that was not prebuilt."""

def _missing_program_impl(ctx):
    fail(ctx.attr.reason)

missing_program = rule(
    implementation = _missing_program_impl,
    doc = "A toolchain that nothing may use, and that says why.",
    attrs = {"reason": attr.string(mandatory = True)},
)
