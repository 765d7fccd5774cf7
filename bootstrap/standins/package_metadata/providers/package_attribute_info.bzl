"""Stands in for the module of this name."""

PackageAttributeInfo = provider(
    doc = "One thing to say about a package.",
    fields = {
        "attributes": "file: what there is to say, as JSON",
        "files": "depset of files: `attributes`, and what it names",
        "kind": "string: what it is about",
    },
)
