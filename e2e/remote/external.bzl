"""A base image from an external repository."""

def _external_base_impl(rctx):
    rctx.file("BUILD.bazel", 'exports_files(["base.img"])\n')
    rctx.file("base.img", "X" * 8192)

_external_base = repository_rule(implementation = _external_base_impl)

def _external_impl(_module_ctx):
    _external_base(name = "external_base")

external = module_extension(implementation = _external_impl)
