#!/usr/bin/env bash
# Runs while the machine runs: copies a file into the guest, and back.
set -euo pipefail

"$VM" copy "$0" :/file
"$VM" copy :/file "$TEST_TMPDIR/file"
cmp "$0" "$TEST_TMPDIR/file"
