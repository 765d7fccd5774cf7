"""Build settings: flags for the command line."""

ValueInfo = provider(
    doc = "The value of a flag.",
    fields = {"value": "The value: a bool, an int or a string."},
)

def _bool_setting_impl(ctx):
    return [ValueInfo(value = ctx.build_setting_value)]

bool_setting = rule(
    implementation = _bool_setting_impl,
    build_setting = config.bool(flag = True),
)

def _positive_setting_impl(ctx):
    value = ctx.build_setting_value
    if value < 1:
        fail("--%s = %d must be at least 1" % (ctx.label, value))
    return [ValueInfo(value = value)]

positive_setting = rule(
    implementation = _positive_setting_impl,
    build_setting = config.int(flag = True),
)

def _choice_setting_impl(ctx):
    value = ctx.build_setting_value
    if value not in ctx.attr.values:
        fail("--%s = \"%s\" is not supported; use one of %s" % (ctx.label, value, ", ".join([repr(value) for value in ctx.attr.values])))
    return [ValueInfo(value = value)]

choice_setting = rule(
    implementation = _choice_setting_impl,
    attrs = {"values": attr.string_list(mandatory = True)},
    build_setting = config.string(flag = True),
)
