#!/usr/bin/env bash
# checks.sh [-only REGEXP] runs the checks of driver/, which starts real servers
# and several Bazels. It prints a line for each check: "PASSED: name", "FAILED: name"
# or "SKIPPED: name: reason". Checks that need nginx (with its DAV module) or BuildBox
# are skipped without it.

set -euo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
ruleset=$(cd ../.. && pwd)

"$ruleset/bazelw" build //driver @rules_qcow2//:qcow2gen
driver=$("$ruleset/bazelw" cquery --output=files //driver)
qcow2gen=$("$ruleset/bazelw" cquery --output=files @rules_qcow2//:qcow2gen)
root=$("$ruleset/bazelw" info execution_root)
"$ruleset/bazelw" shutdown
exec "$root/$driver" -ruleset "$ruleset" -qcow2gen "$root/$qcow2gen" "$@"
