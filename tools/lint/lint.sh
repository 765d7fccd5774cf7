#!/usr/bin/env bash
# lint.sh goimports|vet|staticcheck|buildifier|actionlint|todo checks all files of the
# repository with one tool, and fails if the tool reports anything. The tools are those
# of Bazel's Go toolchain, and those in this folder's go.mod, which also has buildozer
# for release.sh.

set -euo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
top=$PWD

# go DIR ARGS... runs Bazel's go in a folder of the repository. go.work adds the
# tools to its modules, and needs a newer Go than the ruleset.
go() {
  local dir=$1
  shift
  GOWORK=$top/tools/lint/go.work GOTOOLCHAIN=auto \
    ./bazelw run --noshow_progress --ui_event_filters=-info,-stdout,-stderr @rules_go//go -- -C "$top/$dir" "$@"
}

# in_modules ARGS... runs go in every module that has Go files.
in_modules() {
  local module
  for module in . docs/snippets e2e/boot examples/machines; do
    go "$module" "$@"
  done
}

# Prints its input, and fails unless that is empty.
nothing() {
  ! grep .
}

case ${1-} in
  goimports)
    mapfile -t files < <(git ls-files '*.go' | sed "s:^:$top/:")
    nothing < <(go . tool goimports -d "${files[@]}")
    ;;
  vet) in_modules vet ./... ;;
  staticcheck) in_modules tool staticcheck ./... ;;
  buildifier)
    mapfile -t files < <(git ls-files '*.bzl' '*.bazel' '*.bzl.*' | sed "s:^:$top/:")
    go . tool buildifier -mode=check -lint=warn "${files[@]}"
    ;;
  actionlint) go . tool actionlint -shellcheck= -pyflakes= ;;
  # The reason in parentheses is the name or address of the task to do first.
  todo) nothing < <(git grep -nIwE 'TODO|FIXME|XXX' -- . ':!tools/lint' | grep -vE '(TODO|FIXME|XXX)\([^)]+\): .+') ;;
  *)
    echo "lint.sh: unknown check \"${1-}\"; use goimports, vet, staticcheck, buildifier, actionlint or todo" >&2
    exit 2
    ;;
esac
