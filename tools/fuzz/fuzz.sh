#!/usr/bin/env bash
# fuzz.sh [TIME] runs each fuzz target of the Go packages for some time, 3s by default,
# with Bazel's Go. `bazel test` only runs their seeds. One target runs per processor, and
# the output of each is printed at its end.
#
# fuzz.sh TIME PACKAGE TARGET runs one.

set -euo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
time=${1:-3s}

if (($# == 3)); then
  status=0
  # With -trimpath, Go's cache serves all checkouts. tools/lint runs vet. By default, Go minimizes one input for up to 60 seconds.
  output=$(./bazelw run --noshow_progress --ui_event_filters=-info,-stdout,-stderr @rules_go//go -- -C "$PWD" \
    test -trimpath -vet=off -parallel=2 -fuzzminimizetime=10x -run='^$' -fuzz="^$3\$" -fuzztime="$time" "$2" 2>&1) || status=$?
  printf -- '--- %s in %s\n%s\n' "$3" "$2" "$output"
  exit "$status"
fi

failed=$(mktemp)
trap 'rm -f "$failed"' EXIT
# xargs, unlike jobs of bash, lets Ctrl-C end the targets.
# shellcheck disable=SC2016 # expands inside
git grep --no-recurse-submodules '^func Fuzz' -- '*_test.go' |
  sed 's:/[^/]*func : :; s:(.*::; s:^:./:' |
  xargs -P "$(getconf _NPROCESSORS_ONLN)" -L 1 bash -c '"$0" "$1" "$3" "$4" || echo "$3 $4" >>"$2"' tools/fuzz/fuzz.sh "$time" "$failed"

[[ ! -s $failed ]] || {
  echo "these fuzz targets failed; their inputs are in the packages' testdata/fuzz:" "$(cat "$failed")"
  exit 1
}
