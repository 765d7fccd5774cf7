#!/usr/bin/env bash
set -euo pipefail

# A test that only reads needs no layer.
"$QEMU_IMG" info "$DISK" | grep "^virtual size: 8 GiB"
# Where it prints bytes as text, a space is a dot.
"$QEMU_IO" -r -f qcow2 -c "read -v 0 512" "$DISK" | grep "an.operating.sys"
