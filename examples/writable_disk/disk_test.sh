#!/usr/bin/env bash
set -euo pipefail

# This test's own layer, on top of the disk.
layer=$TEST_TMPDIR/layer.qcow2
"$QCOW2GEN" layer -q "$DISK" "$layer"

"$QEMU_IO" -f qcow2 -c "write -P 0x57 1M 64K" -c "read -P 0x57 1M 64K" "$layer"
