#!/usr/bin/env bash
set -euo pipefail

# A test that only reads does not need a layer.
"$QEMU_IMG" info "$DISK" | grep "^virtual size: 8 GiB"
# qemu-io prints a space as a dot.
"$QEMU_IO" -r -f qcow2 -c "read -v 0 512" "$DISK" | grep "an.operating.sys"
