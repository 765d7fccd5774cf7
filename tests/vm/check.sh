#!/usr/bin/env bash
# check.sh uses a machine on a terminal by `bazel run`. vm_test does the same without
# Bazel, in more cases.

set -euo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

test=//tests/vm:never_shown
./bazelw build //tests/vm/bazelrun $test
bazelrun=$(./bazelw cquery --output=files //tests/vm/bazelrun)
"$bazelrun" -shows "sector 2: written" ./bazelw run $test -- --interactive
