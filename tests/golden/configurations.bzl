"""The same target, built in other configurations."""

def _optimized_transition_impl(_settings, _attr):
    return {"//command_line_option:compilation_mode": "opt"}

_optimized_transition = transition(
    implementation = _optimized_transition_impl,
    inputs = [],
    outputs = ["//command_line_option:compilation_mode"],
)

def _renamed_impl(ctx):
    # The outputs have one name in all configurations, and with it one place in
    # runfiles.
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
