"""Rules that build a target in another configuration."""

def _optimized_transition_impl(_settings, _attr):
    return {"//command_line_option:compilation_mode": "opt"}

_optimized_transition = transition(
    implementation = _optimized_transition_impl,
    inputs = [],
    outputs = ["//command_line_option:compilation_mode"],
)

def _renamed_impl(ctx):
    # The output has the same path in the runfiles in all configurations, so each
    # needs a link with its own name.
    link = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = link, target_file = ctx.file.target)
    return [DefaultInfo(files = depset([link]))]

optimized = rule(
    implementation = _renamed_impl,
    attrs = {
        "target": attr.label(
            allow_single_file = True,
            cfg = _optimized_transition,
        ),
    },
)

for_execution = rule(
    implementation = _renamed_impl,
    attrs = {
        "target": attr.label(
            allow_single_file = True,
            cfg = "exec",
        ),
    },
)
