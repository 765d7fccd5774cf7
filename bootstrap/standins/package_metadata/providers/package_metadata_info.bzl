"""Stands in for the module of this name."""

PackageMetadataInfo = provider(
    doc = "Metadata of a package, left out.",
    fields = {},
)
