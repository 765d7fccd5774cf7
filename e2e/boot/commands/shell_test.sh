#!/usr/bin/env bash
# Runs a program in a guest from a shell script.
set -euo pipefail

VM_SOCKET=$("$VM" start "$MACHINE")
export VM_SOCKET

"$VM" copy "$PROGRAM" :/program
[[ $("$VM" exec -- /program echo hello) == hello ]]
[[ $("$VM" exec -i -- /program upper <<<"text") == TEXT ]]

status=0
"$VM" exec -- /program exit 3 2>"$TEST_TMPDIR/stderr" || status=$?
[[ $status == 3 && $(<"$TEST_TMPDIR/stderr") == "the status is 3" ]]

"$VM" copy :/program "$TEST_TMPDIR/copy"
cmp "$PROGRAM" "$TEST_TMPDIR/copy"
"$VM" poweroff
