#!/usr/bin/env bash
# check.sh [BAZEL FLAGS...] runs tests in guests in the ways that need flags of Bazel: with
# --run_under, filters, shards, a time-out, and `bazel coverage`.
#
# Bazel analyzes all targets again if certain flags differ from those of the command before,
# such as --run_under. So commands with the same flags follow each other, and the first ones
# need none but those of the `bazel test //...` that ran before.

set -euo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
logs=bazel-testlogs/guest_tests
flags=("$@")

# logs_of TEST prints the folder of its last run. That of a go_test, for which rules_go
# changes the configuration, is not in bazel-testlogs.
logs_of() {
  find -L bazel-out/*/testlogs/guest_tests -path "*/guest_tests/$1" -printf '%T@ %p\n' | sort --numeric-sort | tail --lines=1 | cut --delimiter=' ' --fields=2
}

bazel() { ../../bazelw "$1" "${flags[@]}" "${@:2}"; }

fail() {
  printf 'check.sh: %s\n' "$1" >&2
  exit 1
}

# has FILE PATTERN
has() { grep --quiet -- "$2" "$1" || fail "$1 does not have $2"; }

# cases FILE... prints the names of the tests that passed or skipped, by logs of Go tests with
# -test.v.
cases() { sed --quiet --regexp-extended 's/^--- (PASS|SKIP): ([^ ]*) .*/\2/p' "$@" | sort; }

# are TESTS FILE... checks the names.
are() {
  local names
  names=$(cases "${@:2}" | tr '\n' ' ')
  [[ $names == "$1 " ]] || fail "${*:2} has the tests $names, want $1"
}

test=//guest_tests:contract_in_snapshot_test
all="TestArguments TestFolders TestKinds TestMachine TestManyRunfiles TestRunfiles TestStored"

streamed=$(bazel test --test_output=streamed --test_arg=-test.v --test_filter='TestKinds|TestFolders' --runs_per_test=2 $test)
has - '^this goes to standard output$' <<<"$streamed"
are "TestFolders TestKinds" $logs/contract_in_snapshot_test/run_2_of_2/test.log

bazel test --test_arg=-test.v --test_arg=-test.run=TestKinds $test
are TestKinds $logs/contract_in_snapshot_test/test.log

bazel test --test_arg=-test.v --test_sharding_strategy=forced=2 $test
are "$all" $logs/contract_in_snapshot_test/shard_{1,2}_of_2/test.log
[[ -n $(cases $logs/contract_in_snapshot_test/shard_1_of_2/test.log) ]] || fail "the first shard is empty"

# A variable from Bazel's environment, by env_inherit.
INSIDE=1 bazel test //guest_tests:inherits_inside

# A time-out. The stacks and the outputs are there, as outside. All three tests wait for it
# at the same time.
status=0
bazel test --keep_going --test_timeout=20 --test_output=errors --jobs=3 --local_resources=cpu=3 \
  //guest_tests/sleeps:{sleeps_test,sleeps_in_guest_test,held_in_guest_test} || status=$?
((status == 3)) || fail "Bazel ended with $status, want failed tests"
for name in sleeps_test sleeps_in_guest_test held_in_guest_test; do
  has "$(logs_of sleeps/$name)/test.log" 'Test timed out at'
done
for name in sleeps_test sleeps_in_guest_test; do
  folder=$(logs_of sleeps/$name)
  has "$folder/test.log" '\.TestSleeps('
  has "$folder/test.outputs/file" 'before the time-out'
done
[[ -e $logs/sleeps/sleeps_in_guest_test/test.outputs/vm/console.log ]] || fail "the console is not in the outputs"
# A test that failed, and whose guest is kept, ends then too.
has $logs/sleeps/held_in_guest_test/test.log 'its guest is kept: it ended with exit status 3$'

# With --hold, the guest of a test that fails stays. Outside of a sandbox, the command that
# the test prints attaches to it, in the test's folder and environment.
held=//guest_tests:behaves_inside
hold_log=$(mktemp)
trap 'rm --force -- "$hold_log"' EXIT

# holds [BAZEL FLAGS...]
holds() {
  local status=0 job attach end printed
  bazel test "$@" --test_output=streamed --test_arg=--hold --test_arg=exit --test_arg=3 $held >"$hold_log" 2>&1 &
  job=$!
  until grep --quiet 'more time, run it with --test_timeout=SECONDS' "$hold_log"; do
    kill -0 $job 2>/dev/null || fail "the test did not hold its guest: $(cat "$hold_log")"
    sleep 0.1
  done
  has "$hold_log" '^//guest_tests:behaves_inside: the test failed, and its guest is kept: it ended with exit status 3$'
  attach=$(sed --quiet 's/^  \(.*vm shell -s .*\)$/\1/p' "$hold_log")
  end=$(sed --quiet 's/^  \(.*vm stop -s .*\)$/\1/p' "$hold_log")
  [[ $attach == *\ */socket && $attach == /* ]] || fail "no command in $(cat "$hold_log")"
  printed=$(cd / && env --ignore-environment sh -c "$attach -- guest_tests/behaves/behaves_/behaves print attached")
  [[ $printed == $'attached\n_main  UTC' ]] || fail "the attached program printed: $printed"
  env --ignore-environment sh -c "$end"
  wait $job || status=$?
  ((status == 3)) || fail "Bazel ended with $status, want a failed test: $(cat "$hold_log")"
  has "$hold_log" '^//guest_tests:behaves_inside .*FAILED in '
}
holds
holds --strategy=TestRunner=local

# A test that passes does not hold, and does not get --hold.
passed=$(bazel test --test_output=streamed --test_arg=print --test_arg=--hold --test_arg=x $held)
has - '^x$' <<<"$passed"

# The tests of packages, unchanged. contract_test fails outside of a guest.
bazel test --test_arg=-test.v --run_under=//snapshots:booted --test_env=INSIDE=1 --test_lang_filters=go \
  //guest_tests:contract_test //guest_tests/covered/...
bazel test --run_under=//snapshots:booted --test_env=INSIDE=1 --test_lang_filters=cc //guest_tests/cc/...
are "$all" "$(logs_of contract_test)/test.log"

# Without trees of runfiles, there are only manifests.
bazel test --noenable_runfiles $test //guest_tests:contract_test

# Bazel's own merger comes from the network.
merger=//guest_tests/covered:merger
bazel coverage --coverage_output_generator=$merger --coverage_report_generator=$merger \
  --instrumentation_filter=//guest_tests/ //guest_tests/covered:covered_in_guest_test //guest_tests/cc:static_in_guest_test
for line in SF:guest_tests/covered/covered.go DA:8,0 DA:10,1; do
  has $logs/covered/covered_in_guest_test/coverage.dat "^$line$"
done
