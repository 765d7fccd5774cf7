#!/usr/bin/env bash
# opens_test.sh QEMU-IMG OVERLAY LAYERS
set -euo pipefail

qemu_img=$1
overlay=$2
want=$3

"$qemu_img" check "$overlay"
layers=$("$qemu_img" info --backing-chain "$overlay" | grep -c '^image:')
if [[ $layers != "$want" ]]; then
  echo "the chain of $overlay has $layers layers, want $want" >&2
  exit 1
fi
