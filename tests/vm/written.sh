#!/usr/bin/env bash
# After the machine: its layer has what the guest wrote.
set -euo pipefail

grep --quiet 'sector 2: written' "$VM_CONSOLE"
"$VM_QEMU_IMG" check "$VM_DISK0"
"$VM_QEMU_IMG" convert -O raw "$VM_DISK0" "$TEST_TMPDIR/raw"
got=$(dd if="$TEST_TMPDIR/raw" bs=512 skip=2 count=1 status=none | tr -d W | wc -c)
rm "$TEST_TMPDIR/raw"
if [[ $got != 0 ]]; then
  echo "the layer has not what the guest wrote" >&2
  exit 1
fi
