#!/usr/bin/env bash
# Runs a command in a guest that has booted.
set -euo pipefail

[[ $("$VM" exec -- systemctl is-system-running --wait) == running ]]
"$VM" exec -- sh -c 'echo text >/root/file && sync /root/file'
