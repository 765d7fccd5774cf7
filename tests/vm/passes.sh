#!/usr/bin/env bash
# While the machine runs: its disk is locked.
set -euo pipefail

if "$VM_QEMU_IMG" check "$VM_DISK0" 2>/dev/null; then
  echo "nobody has $VM_DISK0 open" >&2
  exit 1
fi
