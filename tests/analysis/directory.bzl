"""A target whose output is a directory."""

def _directory_impl(ctx):
    directory = ctx.actions.declare_directory(ctx.label.name)
    ctx.actions.run_shell(command = 'mkdir -p "$1"', arguments = [directory.path], outputs = [directory])
    return [DefaultInfo(files = depset([directory]))]

directory = rule(implementation = _directory_impl)
