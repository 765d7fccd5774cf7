"""Stands in for the module of this name."""

PackageMetadataInfo = provider(
    doc = "The metadata of a package.",
    fields = {
        "files": "depset of files: `metadata`, and those of the attributes",
        "metadata": "file: the package URL and the attributes, as JSON",
    },
)
