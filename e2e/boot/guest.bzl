"""Attributes that all machines here share."""

KERNEL = "@com_github_gokrazy_kernel_amd64//:vmlinuz"

KERNEL_ARGS = [
    "console=ttyS0",
    "quiet",
    "panic=-1",
]
