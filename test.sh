#!/usr/bin/env bash
# test.sh [BAZEL FLAGS...] runs every test of this workspace and of the
# workspaces nested in it, and the checks below. It continues after a failure. At the
# end it lists the failed tests with the ends of their logs, in less than 100 lines,
# and then prints one line, `N passed, N failed`, plus `, N skipped` if any were.
#
# With CI=true, it removes the output bases of the workspaces: CI tests each commit in
# a new folder, and would leave several GB there each time.

set -uo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" || exit
top=$PWD
passed=0 failed=0 skipped=0
failures=() # names
flags=()    # of each `bazel test`

scratch=$(mktemp -d) || exit
beside= # the process that `beside` started
# Ctrl-C does not reach its processes, which are a group of their own.
trap '[[ -z $beside ]] || kill -- "-$beside"; rm -rf "$scratch"' EXIT

# Reads Bazel's build events (JSON, one per line) and prints the number of tests
# that passed, failed, were skipped, and did not build (also counted as failed). Then
# it prints a line for each failed test and action: its name, and after a tab the file
# with its log, or text instead.
count_tests() {
  awk '
    # The text after the first place of a text; "" if the line does not have it.
    function after(line, text, at) {
      at = index(line, text)
      return at ? substr(line, at + length(text)) : ""
    }
    function string(line, key) {
      line = after(line, "\"" key "\":\"")
      gsub(/\\"/, "\001", line); sub(/".*/, "", line); gsub("\001", "\"", line); gsub(/\\n/, " ", line)
      return line
    }
    function file(line, name) {
      line = string(after(line, "\"name\":\"" name "\","), "uri")
      return sub("^file://", "", line) ? line : ""
    }
    { id = $0; sub(/}.*/, "", id); label = string(id, "label") }
    id ~ /"targetConfigured"/ && /"testSize":"/ { tests[label] }
    id ~ /"(targetCompleted|configuredLabel)"/ && /"aborted":/ {
      if (/"reason":"SKIPPED"/) skips[label]; else reason[label] = string($0, "description")
    }
    id ~ /"testResult"/ && !/"status":"PASSED"/ { log_of[label] = file($0, "test.log") }
    id ~ /"testSummary"/ {
      ran[label]
      if (/"overallStatus":"(PASSED|FLAKY)"/) passed++
      else { failed++; lines[++n] = label "\t" log_of[label] }
    }
    id ~ /"actionCompleted"/ && /"action":/ && !/"success":true/ {
      lines[++n] = "the build of " label "\t" file($0, "stderr")
    }
    END {
      for (test in tests) {
        if (test in skips) skipped++
        else if (!(test in ran)) { unbuilt++; lines[++n] = test " (not built)\t" reason[test] }
      }
      print passed + 0, failed + unbuilt, skipped + 0, unbuilt + 0
      for (i = 1; i <= n; i++) print lines[i]
    }' "$1"
}

# note_failure NAME [LOG] keeps the end of a failed test's log, which is a file or
# text.
note_failure() {
  local log=$scratch/failure.${#failures[@]}
  failures+=("$1")
  if [[ -f ${2-} ]]; then tail -n 60 "$2"; else printf '%s\n' "${2-}"; fi | grep -av '^$' | cut -c 1-300 >"$log"
}

# Prints the names of the failed tests and the ends of their logs, in at most 90
# lines.
report_failures() {
  local count=${#failures[@]} i lines
  ((count > 0)) || return 0
  title "failed"
  printf '%s\n' "${failures[@]:0:30}"
  ((count <= 30)) || echo "and $((count - 30)) more"
  # A title takes two lines.
  lines=$(((86 - (count < 30 ? count : 31)) / count - 2))
  ((lines >= 3)) || lines=3
  for ((i = 0; i < count && i < 11; i++)); do
    title "the end of the log of ${failures[i]}"
    tail -n "$lines" "$scratch/failure.$i"
  done
}

# workspace FOLDER [BAZEL FLAGS...] runs the tests of one workspace: all, or
# those of the patterns in TARGETS.
workspace() {
  local folder=$1 events=$scratch/events.json status=0 p=0 f=0 s=0 unbuilt=0 name log
  local -a targets
  read -ra targets <<<"${TARGETS:-//...}"
  shift
  title "bazel test $* ${targets[*]} in $folder"
  : >"$events"
  (cd "$folder" && "$top/bazelw" --bazelrc="$top/tests/later.bazelrc" test --keep_going "${flags[@]}" "$@" --build_event_json_file="$events" "${targets[@]}") </dev/null || status=$?
  {
    read -r p f s unbuilt
    while IFS=$'\t' read -r name log; do note_failure "$folder $name" "$log"; done
  } < <(count_tests "$events")
  case $status in
    0 | 3 | 4) ;; # passed, tests failed, no tests here
    *)
      ((unbuilt > 0)) || ((f += 1)) # a target that is not a test failed
      ((f > unbuilt)) || note_failure "bazel test in $folder" "Bazel ended with exit status $status"
      ;;
  esac
  ((passed += p, failed += f, skipped += s))
}

# leave FOLDER ends the server of a workspace, and removes its output base in CI.
leave() {
  local -a command=(shutdown)
  [[ ${CI-} != true ]] || command=(clean --expunge)
  (cd "$1" && "$top/bazelw" "${command[@]}") </dev/null >"$scratch/leave" 2>&1 || cat "$scratch/leave"
}

# check NAME COMMAND... counts as one test.
check() {
  local name=$1
  shift
  title "$name"
  if "$@" </dev/null 2>&1 | tee "$scratch/check.log"; then
    echo "PASSED: $name"
    ((passed += 1))
  else
    echo "FAILED: $name"
    ((failed += 1))
    note_failure "$name" "$scratch/check.log"
  fi
}

# beside FUNCTION [ARGUMENTS...] runs checks in the background. Bazel often waits, or uses one processor,
# so two workspaces take less time together than one after the other.
beside() {
  mkdir "$scratch/beside"
  set -m
  count_apart "$@" </dev/null >"$scratch/beside.log" 2>&1 &
  beside=$!
  set +m
}

# count_apart FUNCTION [ARGUMENTS...] writes the results of checks to files.
count_apart() {
  local scratch=$scratch/beside passed=0 failed=0 skipped=0
  local -a failures=()
  "$@"
  ((failed == 0)) || printf '%s\n' "${failures[@]}" >"$scratch/names"
  echo "$passed $failed $skipped" >"$scratch/counts"
}

# join waits for the checks in the background, prints their output and counts them.
join() {
  local p=0 f=0 s=0 name i=0
  wait "$beside"
  beside=
  cat "$scratch/beside.log"
  if read -r p f s <"$scratch/beside/counts"; then
    [[ ! -e $scratch/beside/names ]] || while IFS= read -r name; do
      note_failure "$name" "$scratch/beside/failure.$((i++))"
    done <"$scratch/beside/names"
  else
    f=1
    note_failure "the checks in the background" "$scratch/beside.log"
  fi
  ((passed += p, failed += f, skipped += s))
}

# skip NAME REASON
skip() {
  title "$1"
  echo "SKIPPED: $1: $2"
  ((skipped += 1))
}

# title TEXT also prints the seconds since the start.
title() { printf '\n=== %s (%d s)\n' "$1" "$SECONDS"; }

shell_scripts() {
  printf '%s\n' bazelw bootstrap/in-root .ci/run
  find . -name '.?*' -prune -o -name '*.sh' -type f -print
}

shellcheck_all() {
  local -a scripts
  mapfile -t scripts < <(shell_scripts)
  "$@" --external-sources "${scripts[@]}"
}

# Starts from an empty output folder: nothing else has been built. The links to lower
# images do not depend on validations.
overlays_open_from_bazel_bin() {
  rm -rf bazel-bin/tests/overlay
  ./bazelw build --norun_validations //tests/overlay/upper:three_deep //tests/overlay:on_external &&
    ./bazelw run //tests/overlay:bazel_bin_check
}

# The checks of e2e/remote. Each prints its name, its output and its result.
remote_checks() {
  local line status=0 before=$failed log=$scratch/check.log
  title "remote cache and remote execution"
  : >"$log"
  while IFS= read -r line; do
    case $line in
      "--- "*) : >"$log" ;;
      "PASSED: "*) ((passed += 1)) ;;
      "FAILED: "*)
        ((failed += 1))
        note_failure "e2e/remote: ${line#FAILED: }" "$log"
        ;;
      "SKIPPED: "*) ((skipped += 1)) ;;
      "STATUS: "*) status=${line#STATUS: } && continue ;;
    esac
    printf '%s\n' "$line" | tee -a "$log"
  done < <(e2e/remote/checks.sh </dev/null 2>&1; echo "STATUS: $?")
  if ((status != 0 && failed == before)); then
    ((failed += 1))
    note_failure "e2e/remote/checks.sh" "$log"
  fi
}

# Whether Bazel is the private one, whose root has all programs that tests need.
private() (
  source bootstrap/lib.sh
  source bootstrap/system.sh
  [[ ${BAZELW:-auto} != system ]] && ready && { [[ ${BAZELW:-auto} == private ]] || ! system_bazel >/dev/null; }
)

# nested_workspaces PATTERN prints their folders.
nested_workspaces() {
  find . -name '.?*' -prune -o -path ./examples/rules_qemu -prune -o -path "$1/MODULE.bazel" -printf '%h\n' | sort
}

# The checks that run beside the tests of e2e. They boot few guests, and each uses this
# workspace or one that the others do not use. Its arguments are flags of Bazel.
side_checks() {
  local folder
  # These are the longest.
  if git rev-parse --verify --quiet HEAD >/dev/null; then
    check "a release works" e2e/release/checks.sh
  else
    skip "a release works" "not a git checkout"
  fi
  check "commands, code and links in the documentation work" docs/check.sh
  # The module rules_qemu may not be available here.
  check "examples/rules_qemu works" examples/rules_qemu/check.sh
  leave examples/rules_qemu
  while read -r folder; do
    workspace "$folder" "$@"
    leave "$folder"
  done < <(nested_workspaces './examples/*')
  check "overlays open from bazel-bin" overlays_open_from_bazel_bin
  check "bazel run uses the terminal" tests/vm/check.sh
  check "gazelle leaves no diff" ./bazelw run //:gazelle -- -mode=diff
  for tool in goimports vet staticcheck buildifier actionlint todo; do
    check "lint: $tool" tools/lint/lint.sh "$tool"
  done
  check "a corrupt image fails the build" tests/generator/check.sh
}

# Without Bazel, nothing else can run.
if ./bazelw --version </dev/null; then
  ! private || flags+=(--test_env=RULES_QCOW2_NO_SKIP=1)
  workspace . "$@"
  beside side_checks "$@"
  # With the defaults of later versions of Bazel: the rules, their tests and
  # their users. The tests of Go packages do not depend on these flags.
  TARGETS="//tests/... //examples/... //docs/..." workspace . --config=later "$@"
  workspace e2e/smoke --config=later --config=plus "$@"
  while read -r folder; do
    workspace "$folder" "$@"
    case $folder in
      ./e2e/boot) check "tests run in a guest with --run_under, and with coverage" e2e/boot/guest_tests/check.sh "${flags[@]}" "$@" ;;
      ./e2e/remote) remote_checks ;;
    esac
    leave "$folder"
  done < <(nested_workspaces './e2e/*')

  join
  # Any call of bazelw may remove them, so nothing may run beside this.
  if private; then
    check "bazelw removes the output bases of deleted workspaces" bootstrap/check.sh
  else
    skip "bazelw removes the output bases of deleted workspaces" "Bazel is not the private one"
  fi
  # Fuzzing uses all processors.
  check "fuzz targets run for three seconds each" tools/fuzz/fuzz.sh
  check "Go tests pass with the race detector" tools/race/race.sh
else
  ((failed += 1))
  note_failure "./bazelw --version" "its output is at the beginning"
fi

name="shell scripts are clean"
if type -P shellcheck >/dev/null; then
  check "$name" shellcheck_all shellcheck
elif private; then
  check "$name" shellcheck_all bootstrap/in-root shellcheck
else
  skip "$name" "no shellcheck on PATH"
fi

# The server of this workspace stays, unless the checkout does not.
[[ ${CI-} != true ]] || leave .
report_failures
printf '\n%d passed, %d failed' "$passed" "$failed"
((skipped == 0)) || printf ', %d skipped' "$skipped"
printf '\n'
((failed == 0 && passed > 0))
