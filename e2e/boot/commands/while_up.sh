#!/usr/bin/env bash
# Runs while the machine of a qemu_boot_test runs. The argument is the path of the program.
set -euo pipefail

"$VM" wait-for -t 60s -- /rules_qcow2/agent -help
"$VM" copy "$1" :/program
[[ $("$VM" exec -- /program echo hello) == hello ]]
# The console and the socket stay, what was in memory does not.
"$VM" reboot
status=0
"$VM" exec -- /program echo hello 2>"$TEST_TMPDIR/stderr" || status=$?
[[ $status == 1 && $(<"$TEST_TMPDIR/stderr") == *"no such file or directory"* ]]
"$VM" screenshot "$TEST_UNDECLARED_OUTPUTS_DIR/while_up.png"
"$VM" poweroff
