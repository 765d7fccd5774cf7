"""Stands in for the module of this name."""

load("//licenses/providers:license_kind_info.bzl", "LicenseKindInfo")
load("//providers:package_attribute_info.bzl", "PackageAttributeInfo")

def _license_impl(ctx):
    kind = ctx.attr.kind[LicenseKindInfo]
    content = {
        "kind": "build.bazel.attribute.license",
        "label": str(ctx.label),
        "license_kind": {"identifier": kind.identifier, "name": kind.name},
    }
    if ctx.file.text:
        content["text"] = ctx.file.text.path
    output = ctx.actions.declare_file(ctx.label.name + ".package-attribute.json")
    ctx.actions.write(output, json.encode(content))
    return [
        DefaultInfo(files = depset([output])),
        PackageAttributeInfo(
            attributes = output,
            files = depset([output] + ctx.files.text),
            kind = content["kind"],
        ),
    ]

_license = rule(
    implementation = _license_impl,
    attrs = {
        "kind": attr.label(
            mandatory = True,
            providers = [LicenseKindInfo],
        ),
        "text": attr.label(allow_single_file = True),
    },
    provides = [PackageAttributeInfo],
)

def license(*, name, kind, text = None, visibility = None):
    """Declares the licence of a package.

    Args:
      name: name of the target.
      kind: the licence, one of //licenses/spdx.
      text: file with its text.
      visibility: as for any rule.
    """
    _license(
        name = name,
        # A repository's default metadata depends on this very target: a cycle.
        applicable_licenses = [],
        kind = kind,
        text = text,
        visibility = visibility,
    )
