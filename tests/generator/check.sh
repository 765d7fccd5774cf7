#!/usr/bin/env bash
# check.sh builds an overlay with a generator that makes corrupt images: the
# validation has to fail the build, with the reason, and nothing else does.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build() {
  ./bazelw build //tests/generator:disk --extra_toolchains=//tests/generator:corrupting_toolchain "$@" 2>&1
}

if log=$(build); then
  echo "a corrupt image passes: $log"
  exit 1
fi
for words in \
  "Checking qcow2 overlay bazel-out/.*/bin/tests/generator/disk.qcow2 failed" \
  "ERROR cluster 0 refcount=0 reference=1" \
  "1 errors were found on the image"; do
  if ! grep -q "$words" <<<"$log"; then
    echo "the build does not say \"$words\": $log"
    exit 1
  fi
done

if ! log=$(build --norun_validations); then
  echo "something else than the validation fails: $log"
  exit 1
fi
