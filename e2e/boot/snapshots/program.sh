#!/usr/bin/env bash
# Runs a program in a guest that resumed.
set -euo pipefail

"$VM" copy "$1" :/program
[[ $("$VM" exec -- /program echo resumed) == resumed ]]
