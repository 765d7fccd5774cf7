#!/usr/bin/env bash
set -euo pipefail

# Through the top layer, all of those below are seen.
# Where it prints bytes as text, a space is a dot.
"$QEMU_IO" -r -f qcow2 -c "read -v 0 512" "$DISK" | grep "an.operating.sys"
"$QEMU_IO" -r -f qcow2 -c "read -P 0x70 1G 1M" -c "read -P 0x73 2G 1M" "$DISK" | tee "$TEST_TMPDIR/read"
! grep "verification failed" "$TEST_TMPDIR/read"
