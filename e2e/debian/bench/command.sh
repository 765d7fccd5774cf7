#!/usr/bin/env bash
# Runs a command in a guest that has booted.
set -euo pipefail

"$VM" wait-for -t 180s -- systemctl is-system-running --wait
"$VM" exec -- sh -c 'echo text >/root/file && sync /root/file'
