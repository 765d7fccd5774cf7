#!/usr/bin/env bash
# Runs after the machine has ended.
exec grep "reboot: Power down" "$VM_CONSOLE"
