#!/usr/bin/env bash
# Runs in the guest, with the environment that Bazel gives a shell test.
set -euo pipefail

grep --quiet rules_qcow2 /proc/cmdline
[[ $(cat guest_tests/data.txt) == data ]]
[[ $1 == "an argument" ]]
[[ ${WANT_USER-root} == "$(id -un)" ]]
touch "$TEST_UNDECLARED_OUTPUTS_DIR/file" "$TEST_TMPDIR/file"
if [[ ${TEST_TOTAL_SHARDS-} ]]; then
  touch "$TEST_SHARD_STATUS_FILE"
fi
