#!/usr/bin/env bash
# Runs while the machine debian13_bios does.
set -euo pipefail

"$VM" wait-for -t 180s -- systemctl is-system-running
[[ $("$VM" exec -- findmnt --noheadings --output SOURCE /) == /dev/vda3 ]]
[[ $("$VM" exec -- cat /sys/firmware/efi 2>&1) == *"No such file"* ]]
echo "by the agent" >"$TEST_TMPDIR/written"
"$VM" copy "$TEST_TMPDIR/written" :/root/written
[[ $("$VM" exec -- cat /root/written) == "by the agent" ]]
"$VM" poweroff
