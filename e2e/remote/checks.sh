#!/usr/bin/env bash
# checks.sh [-only REGEXP] runs the checks of driver/, which starts real servers
# and several Bazels. It prints a line for each check: "PASSED: name", "FAILED: name"
# or "SKIPPED: name: reason". Checks that need nginx (with its DAV module) or BuildBox
# are skipped without it.

set -euo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
ruleset=$(cd ../.. && pwd)

qcow2gen=@rules_qcow2//:qcow2gen qcow2convert=@rules_qcow2//tools/qcow2gen:qcow2convert
qcow2check=@rules_qcow2//tools/qcow2check vm=@rules_qcow2//tools/vm
vmboot=@rules_qcow2//tools/vmboot boot_disk=@rules_qcow2//tests/vm/bootdisk:disk
"$ruleset/bazelw" build //driver $qcow2gen $qcow2convert $qcow2check $vm $vmboot $boot_disk
file() { "$ruleset/bazelw" cquery --output=files "$1"; }
driver=$(file //driver) qcow2gen=$(file $qcow2gen) qcow2convert=$(file $qcow2convert)
qcow2check=$(file $qcow2check) vm=$(file $vm)
vmboot=$(file $vmboot) boot_disk=$(file $boot_disk)
root=$("$ruleset/bazelw" info execution_root)
"$ruleset/bazelw" shutdown
exec "$root/$driver" -ruleset "$ruleset" -qcow2gen "$root/$qcow2gen" -qcow2convert "$root/$qcow2convert" \
  -qcow2check "$root/$qcow2check" -vm "$root/$vm" -vmboot "$root/$vmboot" -boot-disk "$root/$boot_disk" "$@"
