#!/usr/bin/env bash
# Runs a program in a guest from a shell script.
set -euo pipefail

VM_SOCKET=$("$VM" start "$MACHINE")
export VM_SOCKET

"$VM" copy "$PROGRAM" :/program
[[ $("$VM" exec -- /program echo hello) == hello ]]
[[ $("$VM" exec -i -- /program upper <<<"text") == TEXT ]]

# A command that has ended leaves the input to others.
mkfifo "$TEST_TMPDIR/input"
exec 3<>"$TEST_TMPDIR/input"
for line in first second; do
  [[ $("$VM" exec -i -- /program echo hello <&3) == hello ]]
  echo "$line" >&3
  read -r got <&3
  [[ $got == "$line" ]]
done

status=0
"$VM" exec -- /program exit 3 2>"$TEST_TMPDIR/stderr" || status=$?
[[ $status == 3 && $(<"$TEST_TMPDIR/stderr") == "the status is 3" ]]

"$VM" copy :/program "$TEST_TMPDIR/copy"
cmp "$PROGRAM" "$TEST_TMPDIR/copy"
"$VM" poweroff
