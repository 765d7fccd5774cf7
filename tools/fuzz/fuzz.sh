#!/usr/bin/env bash
# fuzz.sh [TIME] runs each fuzz target of the Go packages for some time, 2s by default,
# with Bazel's Go. `bazel test` only runs their seeds.

set -euo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
time=${1:-2s}
failed=()

go() { ./bazelw run --noshow_progress --ui_event_filters=-info,-stdout,-stderr @rules_go//go -- -C "$PWD" "$@"; }

while IFS=: read -r file line; do
  target=${line#func }
  target=${target%%(*}
  package=./$(dirname "$file")
  echo "--- $target in $package"
  go test -run='^$' -fuzz="^$target\$" -fuzztime="$time" "$package" || failed+=("$package $target")
done < <(git grep --no-recurse-submodules '^func Fuzz' -- '*_test.go')

((${#failed[@]} == 0)) || {
  echo "these fuzz targets failed; their inputs are in the packages' testdata/fuzz:" "${failed[@]}"
  exit 1
}
