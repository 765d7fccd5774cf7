#!/usr/bin/env bash
set -euo pipefail

# Bazel may run this test many times at once (--runs_per_test): each run writes to
# its own layer.
layer=$TEST_TMPDIR/layer.qcow2
"$QCOW2GEN" create -q -b "$PWD/$DISK" -F qcow2 "$layer"

"$QEMU_IO" -f qcow2 -c "write -P 0x44 99G 1M" "$layer"
"$QEMU_IO" -f qcow2 -c "read -P 0x44 99G 1M" "$layer" | tee "$TEST_TMPDIR/read"
! grep "verification failed" "$TEST_TMPDIR/read"
