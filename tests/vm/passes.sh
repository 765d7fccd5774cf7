#!/usr/bin/env bash
# Runs while the machine runs: its disk is locked.
set -euo pipefail

if "$VM_QEMU_IMG" check "$VM_DISK0" 2>/dev/null; then
  echo "no process has $VM_DISK0 open" >&2
  exit 1
fi
