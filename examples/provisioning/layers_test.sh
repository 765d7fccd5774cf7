#!/usr/bin/env bash
set -euo pipefail

# The top layer shows the data of all layers below. qemu-io prints a space as a dot.
"$QEMU_IO" -r -f qcow2 -c "read -v 0 512" "$DISK" | grep "an.operating.sys"
"$QEMU_IO" -r -f qcow2 -c "read -P 0x70 1G 1M" -c "read -P 0x73 2G 1M" "$DISK" | tee "$TEST_TMPDIR/read"
! grep "verification failed" "$TEST_TMPDIR/read"
