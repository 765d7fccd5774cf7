#!/usr/bin/env bash
set -euo pipefail

# shellcheck disable=SC1091
source "${RUNFILES_DIR:-$0.runfiles}/bazel_tools/tools/bash/runfiles/runfiles.bash"

want=$1
# macOS has shasum only.
sum=(sha256sum)
type -P sha256sum >/dev/null || sum=(shasum -a 256)
read -r got _ < <("${sum[@]}" "$(rlocation "$2")")
if [[ $got != "$want" ]]; then
  echo "$2 has the digest $got, want $want" >&2
  exit 1
fi
