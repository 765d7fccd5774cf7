"""A folder as an output of the build."""

def _tree_impl(ctx):
    folder = ctx.actions.declare_directory(ctx.label.name)
    ctx.actions.run_shell(
        command = "mkdir $1/sub && echo text >$1/sub/file && ln -s sub/file $1/link",
        arguments = [folder.path],
        outputs = [folder],
    )
    return [DefaultInfo(files = depset([folder]))]

tree = rule(implementation = _tree_impl)
