#!/usr/bin/env bash
set -euo pipefail

# The machine ends with this script.
VM_SOCKET=$("$VM" start "$MACHINE")
export VM_SOCKET

"$VM" copy "$SERVICE" :/service
echo hello >"$TEST_TMPDIR/page"
"$VM" copy "$TEST_TMPDIR/page" :/page

# The service runs until the machine ends.
"$VM" exec -- /service serve :80 &
"$VM" wait-for -- /service get http://127.0.0.1/page
[[ $("$VM" exec -- /service get http://127.0.0.1/page) == hello ]]

# vm has the command's exit status.
status=0
"$VM" exec -- /service get http://127.0.0.1/missing || status=$?
[[ $status == 1 ]]

"$VM" poweroff
