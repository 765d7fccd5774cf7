"""A stand-in for a program that was not prebuilt."""

def _missing_program_impl(ctx):
    fail(ctx.attr.reason)

missing_program = rule(
    implementation = _missing_program_impl,
    doc = "A toolchain whose use is an error with a reason.",
    attrs = {"reason": attr.string(mandatory = True)},
)
