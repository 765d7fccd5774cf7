#!/usr/bin/env bash
# Runs after the machine: its layer has the guest's writes.
set -euo pipefail

grep --quiet 'sector 2: written' "$VM_CONSOLE"
"$VM_QEMU_IMG" check "$VM_DISK0"
"$VM_QEMU_IMG" convert -O raw "$VM_DISK0" "$TEST_TMPDIR/raw"
got=$(dd if="$TEST_TMPDIR/raw" bs=512 skip=2 count=1 status=none | tr -d W | wc -c)
rm "$TEST_TMPDIR/raw"
if [[ $got != 0 ]]; then
  echo "the layer does not have the guest's writes" >&2
  exit 1
fi
