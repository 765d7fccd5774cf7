#!/usr/bin/env bash
# golden_test.sh DIGEST FILES... fails unless all files have the digest.
set -euo pipefail

want=$1
shift
failed=0
for file in "$@"; do
  read -r got _ < <(sha256sum "$file")
  if [[ $got != "$want" ]]; then
    echo "$file has the digest $got, want $want" >&2
    failed=1
  fi
done
exit "$failed"
