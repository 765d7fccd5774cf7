#!/usr/bin/env bash
# lint.sh goimports|vet|staticcheck|buildifier|actionlint|todo looks at every file of the
# repository, as the named tool does, and fails if the tool has something to say.
# The tools are those of Bazel's Go toolchain, and what go.mod beside this
# script pins; buildozer there is for release.sh.

set -euo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
top=$PWD

# go DIR ARGS... runs Bazel's go in a folder of the repository. go.work adds the
# tools to its modules, and asks for a newer Go than the ruleset does.
go() {
  local dir=$1
  shift
  GOWORK=$top/tools/lint/go.work GOTOOLCHAIN=auto \
    ./bazelw run --noshow_progress --ui_event_filters=-info,-stdout,-stderr @rules_go//go -- -C "$top/$dir" "$@"
}

# in_modules ARGS... runs go in every module that has Go files.
in_modules() {
  local module
  for module in . e2e/boot; do
    go "$module" "$@"
  done
}

# Prints what it reads, and fails if that is anything.
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
  # A reason is the name or the address of what has to come first.
  todo) nothing < <(git grep -nIwE 'TODO|FIXME|XXX' -- . ':!tools/lint' | grep -vE '(TODO|FIXME|XXX)\([^)]+\): .+') ;;
  *)
    echo "lint.sh: \"${1-}\" is no check, allowed are goimports, vet, staticcheck, buildifier, actionlint and todo" >&2
    exit 2
    ;;
esac
