"""Stands in for the module of this name."""

load("//licenses/providers:license_kind_info.bzl", "LicenseKindInfo")

def _license_kind_impl(ctx):
    return [LicenseKindInfo(
        identifier = ctx.attr.identifier,
        name = ctx.attr.full_name,
    )]

_license_kind = rule(
    implementation = _license_kind_impl,
    attrs = {
        "full_name": attr.string(mandatory = True),
        "identifier": attr.string(mandatory = True),
    },
    provides = [LicenseKindInfo],
)

def license_kind(*, name, identifier, full_name, visibility = None):
    """Declares a licence that many use.

    Args:
      name: name of the target.
      identifier: its SPDX identifier.
      full_name: its usual name.
      visibility: as for any rule.
    """
    _license_kind(
        name = name,
        applicable_licenses = [],
        full_name = full_name,
        identifier = identifier,
        visibility = visibility,
    )
