#!/usr/bin/env bash
# Runs tests in a guest in ways that Bazel does not.
set -euo pipefail
log=$TEST_TMPDIR/log

# check STATUS PROGRAM ARGS... runs a program, which must end with this status.
check() {
  local want=$1 got=0
  shift
  "guest_tests/$1" "${@:2}" >"$log" 2>&1 || got=$?
  ((got == want)) || fail "$1 ended with $got, want $want"
}

# has LINE checks that the output of the last program has it.
has() {
  grep --quiet --fixed-strings -- "$1" "$log" || fail "the output does not have: $1"
}

fail() {
  printf '%s\n' "$1" >&2
  cat "$log" >&2
  exit 1
}

# A shell in the guest, with the test's folder, runfiles, environment and user.
# shellcheck disable=SC2016 # for the shell in the guest
printf '%s\n' 'pwd' 'cat guest_tests/data.txt' 'echo "srcdir=$TEST_SRCDIR"' 'grep -c rules_qcow2 /proc/cmdline' 'exit 5' |
  check 5 shell_in_debian_test --interactive
has "/var/tmp/bazel/test/runfiles/$TEST_WORKSPACE"
has "data"
has "srcdir=/var/tmp/bazel/test/runfiles"

# A program that only its owner may execute, as Bazel's disk cache leaves it.
runfiles=$TEST_TMPDIR/runfiles
cp --recursive --symbolic-link "$TEST_SRCDIR/." "$runfiles"
for name in shell_test shell_test.sh; do
  program=$TEST_WORKSPACE/guest_tests/$name
  cp --dereference --remove-destination "$TEST_SRCDIR/$program" "$runfiles/$program"
  chmod 0544 "$runfiles/$program"
done
TEST_SRCDIR=$runfiles RUNFILES_DIR=$runfiles WANT_USER=nobody check 0 as_nobody_test

# More runfiles than the guest's disk has space for.
check 1 large_in_small
has "//guest_tests:large_in_small: the runfiles cannot be copied to the guest: "
has "no space left on device"

# A program that env(1) does not find in the guest.
check 127 script_inside
has "/guest_tests/script: exit status 127: if the output above names a program or a library, the guest (Debian GNU/Linux 13 (trixie)) does not have it"
has "no-such-program"
