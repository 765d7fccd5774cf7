#!/usr/bin/env bash
# test.sh [BAZEL FLAGS...] runs every test of this workspace and of the
# workspaces nested in it, and the checks below. It continues after a failure
# and ends with one line, `N passed, N failed`, plus `, N skipped` if any were.

set -uo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" || exit
top=$PWD
passed=0 failed=0 skipped=0

scratch=$(mktemp -d) || exit
trap 'rm -rf "$scratch"' EXIT

# Reads Bazel's build events (JSON, one per line) and prints the number of tests
# that passed, failed, were skipped, and did not build (also counted as failed).
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

# workspace FOLDER [BAZEL FLAGS...] runs the tests of one workspace: all, or
# those of the patterns in TARGETS.
workspace() {
  local folder=$1 events=$scratch/events.json status=0 p=0 f=0 s=0 unbuilt=0
  local -a targets
  read -ra targets <<<"${TARGETS:-//...}"
  shift
  title "bazel test $* ${targets[*]} in $folder"
  : >"$events"
  (cd "$folder" && "$top/bazelw" --bazelrc="$top/tests/later.bazelrc" test --keep_going "$@" --build_event_json_file="$events" "${targets[@]}") </dev/null || status=$?
  read -r p f s unbuilt < <(count_tests "$events")
  case $status in
    0 | 3 | 4) ;; # passed, tests failed, no tests here
    *) ((unbuilt > 0)) || ((f += 1)) ;; # a target that is not a test failed
  esac
  ((passed += p, failed += f, skipped += s))
  # Each workspace has its own server. Only the first one keeps running.
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

# Starts from an empty output folder: nothing else has been built.
overlays_open_from_bazel_bin() {
  rm -rf bazel-bin/tests/overlay
  ./bazelw build //tests/overlay/upper:three_deep //tests/overlay:on_external &&
    ./bazelw run //tests/overlay:bazel_bin_check
}

# The checks of e2e/remote. Each prints its result.
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

# Without Bazel, nothing else can run.
if ./bazelw --version </dev/null; then
  workspace . "$@"
  # With the defaults of later versions of Bazel: the rules, their tests and
  # their users. The tests of Go packages do not depend on these flags.
  TARGETS="//tests/... //examples/... //docs/..." workspace . --config=later "$@"
  workspace e2e/smoke --config=later "$@"
  while read -r module; do
    workspace "$(dirname "$module")" "$@"
  done < <(find . -name '.?*' -prune -o -path ./examples/rules_qemu -prune -o -path './*/MODULE.bazel' -print | sort)

  check "overlays open from bazel-bin" overlays_open_from_bazel_bin
  check "tests run in a guest with --run_under, and with coverage" e2e/boot/guest_tests/check.sh
  # The module rules_qemu may not be available here.
  check "examples/rules_qemu works" examples/rules_qemu/check.sh
  check "a corrupt image fails the build" tests/generator/check.sh
  if git rev-parse --verify --quiet HEAD >/dev/null; then
    check "a release works" e2e/release/checks.sh
  else
    skip "a release works" "not a git checkout"
  fi
  check "gazelle leaves no diff" ./bazelw run //:gazelle -- -mode=diff
  check "commands, code and links in the documentation work" docs/check.sh
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
