"""Stands in for the module of this name: what gazelle writes into the BUILD
files of Go modules loads, and says nothing."""

load("//providers:package_metadata_info.bzl", "PackageMetadataInfo")

def _package_metadata_impl(_ctx):
    return [PackageMetadataInfo()]

_package_metadata = rule(
    implementation = _package_metadata_impl,
    attrs = {"purl": attr.string()},
    provides = [PackageMetadataInfo],
)

def package_metadata(name, purl, visibility = None):
    """Declares a target without metadata.

    Args:
      name: name of the target.
      purl: package URL, not used.
      visibility: as for any rule.
    """
    _package_metadata(
        name = name,
        # A repository's default metadata is this very target: a cycle.
        applicable_licenses = [],
        purl = purl,
        visibility = visibility,
    )
