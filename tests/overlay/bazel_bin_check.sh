#!/usr/bin/env bash
# Opens the images that `bazel build` of two targets leaves in bazel-bin:
#
#   bazel build //tests/overlay/upper:three_deep //tests/overlay:on_external
#   bazel run //tests/overlay:bazel_bin_check
set -euo pipefail

qemu_img=$PWD/$1
cd "$BUILD_WORKSPACE_DIRECTORY/bazel-bin/tests/overlay"
for case in upper/three_deep.qcow2=4 on_external.qcow2=2; do
  overlay=${case%=*}
  want=${case#*=}
  layers=$("$qemu_img" info --backing-chain "$overlay" | grep -c '^image:')
  if [[ $layers != "$want" ]]; then
    echo "the chain of $overlay has $layers layers, want $want" >&2
    exit 1
  fi
  "$qemu_img" check "$overlay"
done
