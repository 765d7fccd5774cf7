#!/usr/bin/env bash
set -euo pipefail

# A layer of this test's own, on top of the disk. Its backing file is an
# absolute path, as it lies in another folder.
layer=$TEST_TMPDIR/layer.qcow2
"$QCOW2GEN" create -q -b "$PWD/$DISK" -F qcow2 "$layer"

"$QEMU_IO" -f qcow2 -c "write -P 0x57 1M 64K" -c "read -P 0x57 1M 64K" "$layer"
