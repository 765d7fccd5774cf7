#!/usr/bin/env bash
# Runs while the machine runs. The argument is the path of a static program.
set -euo pipefail

"$VM" copy "$1" :/program
status=0
"$VM" exec -- /program || status=$?
[[ $status == 1 ]] # it printed its usage
