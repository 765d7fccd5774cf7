"""Stands in for the module of this name. BUILD.bazel declares the target that REPO.bazel
names with it, and gazelle writes it into the BUILD files of Go modules."""

load("//providers:package_attribute_info.bzl", "PackageAttributeInfo")
load("//providers:package_metadata_info.bzl", "PackageMetadataInfo")

def _package_metadata_impl(ctx):
    attributes = [attribute[PackageAttributeInfo] for attribute in ctx.attr.attributes]
    output = ctx.actions.declare_file(ctx.label.name + ".package-metadata.json")
    ctx.actions.write(output, json.encode({
        "attributes": {attribute.kind: attribute.attributes.path for attribute in attributes},
        "label": str(ctx.label),
        "purl": ctx.attr.purl,
    }))
    return [
        DefaultInfo(files = depset([output])),
        PackageMetadataInfo(
            files = depset([output], transitive = [attribute.files for attribute in attributes]),
            metadata = output,
        ),
    ]

_package_metadata = rule(
    implementation = _package_metadata_impl,
    attrs = {
        "attributes": attr.label_list(providers = [PackageAttributeInfo]),
        "purl": attr.string(mandatory = True),
    },
    provides = [PackageMetadataInfo],
)

def package_metadata(*, name, purl, attributes = [], visibility = None):
    """Declares the metadata of a package.

    Args:
      name: name of the target.
      purl: package URL.
      attributes: further attributes, such as its license.
      visibility: as for any rule.
    """
    _package_metadata(
        name = name,
        # A repository's default metadata is this very target: a cycle.
        applicable_licenses = [],
        attributes = attributes,
        purl = purl,
        visibility = visibility,
    )
