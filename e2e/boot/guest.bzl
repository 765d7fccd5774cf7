"""Attributes that all machines here share."""

KERNEL = "@com_github_gokrazy_kernel_amd64//:vmlinuz"

# A busy host does not deliver the timer interrupts that Linux counts at its start.
# Machines with an agent have no_timer_check from the runner.
KERNEL_ARGS = [
    "console=ttyS0",
    "no_timer_check",
    "quiet",
    "panic=-1",
]
