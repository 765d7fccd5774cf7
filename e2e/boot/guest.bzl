"""What all machines here have in common."""

KERNEL = "@com_github_gokrazy_kernel_amd64//:vmlinuz"

CONSOLE = "console=ttyS0 quiet panic=-1 "
