#!/usr/bin/env bash
# test.sh [BAZEL FLAGS...] runs every test: those of this workspace, those of
# every workspace nested in it, and the checks below. It goes on after a failure
# and ends with one line, `N passed, N failed`, and `, N skipped` if any were.

set -uo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" || exit
top=$PWD
passed=0 failed=0 skipped=0

scratch=$(mktemp -d) || exit
trap 'rm -rf "$scratch"' EXIT

# Reads Bazel's build events (JSON, one a line) and prints how many tests
# passed, failed, were skipped, and could not be built (also in failed).
count_tests() {
  awk '
    function label(line) { sub(/.*"label":"/, "", line); sub(/".*/, "", line); return line }
    { id = $0; sub(/}.*/, "", id) }
    id ~ /"targetConfigured"/ && /"testSize":"/ { tests[label(id)] }
    id ~ /"targetCompleted"/ && /"aborted":.*"reason":"SKIPPED"/ { skips[label(id)] }
    id ~ /"testSummary"/ { if (/"overallStatus":"(PASSED|FLAKY)"/) passed++; else failed++; ran[label(id)] }
    END {
      for (test in tests) {
        if (test in skips) skipped++
        else if (!(test in ran)) unbuilt++
      }
      print passed + 0, failed + unbuilt, skipped + 0, unbuilt + 0
    }' "$1"
}

# workspace FOLDER [BAZEL FLAGS...] runs the tests of one workspace.
workspace() {
  local folder=$1 events=$scratch/events.json status=0 p=0 f=0 s=0 unbuilt=0
  shift
  title "bazel test $* //... in $folder"
  : >"$events"
  (cd "$folder" && "$top/bazelw" --bazelrc="$top/tests/later.bazelrc" test --keep_going "$@" --build_event_json_file="$events" //...) </dev/null || status=$?
  read -r p f s unbuilt < <(count_tests "$events")
  case $status in
    0 | 3 | 4) ;; # passed, tests failed, no tests here
    *) ((unbuilt > 0)) || ((f += 1)) ;; # what did not build was no test
  esac
  ((passed += p, failed += f, skipped += s))
  # Each workspace has a server of its own; only the first one's is kept.
  [[ $folder == . ]] || (cd "$folder" && "$top/bazelw" shutdown) </dev/null >"$scratch/shutdown" 2>&1
}

# check NAME COMMAND... counts as one test.
check() {
  local name=$1
  shift
  title "$name"
  if "$@" </dev/null; then
    echo "PASSED: $name"
    ((passed += 1))
  else
    echo "FAILED: $name"
    ((failed += 1))
  fi
}

# skip NAME REASON
skip() {
  title "$1"
  echo "SKIPPED: $1: $2"
  ((skipped += 1))
}

title() { printf '\n=== %s\n' "$1"; }

shell_scripts() {
  printf '%s\n' bazelw bootstrap/in-root .ci/run
  find . -name '.?*' -prune -o -name '*.sh' -type f -print
}

shellcheck_all() {
  local -a scripts
  mapfile -t scripts < <(shell_scripts)
  shellcheck --external-sources "${scripts[@]}"
}

# From scratch, as after a build of nothing else.
overlays_open_from_bazel_bin() {
  rm -rf bazel-bin/tests/overlay
  ./bazelw build //tests/overlay/upper:three_deep //tests/overlay:on_external &&
    ./bazelw run //tests/overlay:bazel_bin_check
}

# The checks of e2e/remote, each of which says how it ended.
remote_checks() {
  local line status=0 before=$failed
  title "remote cache and remote execution"
  while IFS= read -r line; do
    case $line in
      "PASSED: "*) ((passed += 1)) ;;
      "FAILED: "*) ((failed += 1)) ;;
      "SKIPPED: "*) ((skipped += 1)) ;;
      "STATUS: "*) status=${line#STATUS: } && continue ;;
    esac
    printf '%s\n' "$line"
  done < <(e2e/remote/checks.sh </dev/null 2>&1; echo "STATUS: $?")
  ((status == 0 || failed > before)) || ((failed += 1))
}

# Where Bazel cannot be had there is nothing to go on with.
if ./bazelw --version </dev/null; then
  workspace . "$@"
  # As later versions of Bazel have it.
  workspace . --config=later "$@"
  workspace e2e/smoke --config=later "$@"
  while read -r module; do
    workspace "$(dirname "$module")" "$@"
  done < <(find . -name '.?*' -prune -o -path ./examples/rules_qemu -prune -o -path './*/MODULE.bazel' -print | sort)

  check "overlays open from bazel-bin" overlays_open_from_bazel_bin
  # Its module may be out of reach.
  check "examples/rules_qemu works" examples/rules_qemu/check.sh
  check "a corrupt image fails the build" tests/generator/check.sh
  if git rev-parse --verify --quiet HEAD >/dev/null; then
    check "a release works" e2e/release/checks.sh
  else
    skip "a release works" "not a git checkout"
  fi
  check "gazelle leaves no diff" ./bazelw run //:gazelle -- -mode=diff
  check "what the documentation shows runs, and its links lead somewhere" docs/check.sh
  for tool in goimports vet staticcheck buildifier actionlint todo; do
    check "lint: $tool" tools/lint/lint.sh "$tool"
  done
  remote_checks
else
  ((failed += 1))
fi

name="shell scripts are clean"
if type -P shellcheck >/dev/null; then
  check "$name" shellcheck_all
else
  skip "$name" "no shellcheck on PATH"
fi

printf '\n%d passed, %d failed' "$passed" "$failed"
((skipped == 0)) || printf ', %d skipped' "$skipped"
printf '\n'
((failed == 0 && passed > 0))
