#!/usr/bin/env bash
set -euo pipefail

# shellcheck disable=SC1091
source "${RUNFILES_DIR:-$0.runfiles}/bazel_tools/tools/bash/runfiles/runfiles.bash"

qemu_img=$(rlocation "$1")
disk=$(rlocation "$2")
want=$3

"$qemu_img" check "$disk"
layers=$("$qemu_img" info --backing-chain "$disk" | grep -c '^image:')
if [[ $layers != "$want" ]]; then
  echo "the chain of $disk has $layers layers, want $want" >&2
  exit 1
fi
