#!/usr/bin/env bash
# Uses a Debian guest that resumed.
set -euo pipefail

[[ $("$VM" exec -- systemctl is-system-running) == running ]]
"$VM" exec -- sh -c 'echo text >/root/file && sync'
