"""Stands in for the module of this name."""

LicenseKindInfo = provider(
    doc = "A licence that many use.",
    fields = {
        "identifier": "string: its SPDX identifier",
        "name": "string: its usual name",
    },
)
