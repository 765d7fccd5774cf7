#!/usr/bin/env bash
# Runs while the machine runs: its disk is locked.
set -euo pipefail

# -f: qemu-img must not fail for another reason.
if errors=$("$VM_QEMU_IMG" check -f qcow2 "$VM_DISK0" 2>&1) || [[ $errors != *'Failed to get shared "write" lock'* ]]; then
  echo "no process has locked $VM_DISK0: $errors" >&2
  exit 1
fi
