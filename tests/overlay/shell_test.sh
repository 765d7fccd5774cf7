#!/usr/bin/env bash
set -euo pipefail

qemu_img=$1
overlay=$2

"$qemu_img" check "$overlay"
layers=$("$qemu_img" info --backing-chain "$overlay" | grep -c '^image:')
if [[ $layers != 4 ]]; then
  echo "the chain of $overlay has $layers layers, want 3 overlays and a base" >&2
  exit 1
fi
