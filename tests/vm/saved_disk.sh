#!/usr/bin/env bash
# After a machine that resumed: its disk has the guest's writes from before the
# save, and its console does not have their messages.
set -euo pipefail

# The end of the last line may come after the save.
if grep --quiet '[[:graph:]]' "$VM_CONSOLE"; then
  echo "the console has text from before the save:" >&2
  cat "$VM_CONSOLE" >&2
  exit 1
fi
"$VM_QEMU_IMG" check "$VM_DISK0"
"$VM_QEMU_IMG" convert -O raw "$VM_DISK0" "$TEST_TMPDIR/raw"
got=$(dd if="$TEST_TMPDIR/raw" bs=512 skip=2 count=1 status=none | tr -d W | wc -c)
rm "$TEST_TMPDIR/raw"
if [[ $got != 0 ]]; then
  echo "the disk does not have the guest's writes" >&2
  exit 1
fi
