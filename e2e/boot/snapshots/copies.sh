#!/usr/bin/env bash
# Copies a file into a guest that resumed, and back.
set -euo pipefail

"$VM" copy "$1" :/copy
"$VM" copy :/copy "$TEST_TMPDIR/copy"
cmp "$1" "$TEST_TMPDIR/copy"
