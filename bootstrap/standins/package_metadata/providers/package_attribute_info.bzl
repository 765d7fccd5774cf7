"""Stands in for the module of this name."""

PackageAttributeInfo = provider(
    doc = "An attribute of a package.",
    fields = {
        "attributes": "file: the attribute, as JSON",
        "files": "depset of files: `attributes`, and the files that it names",
        "kind": "string: the kind of attribute",
    },
)
