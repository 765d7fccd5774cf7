#!/usr/bin/env bash
# Runs a command in the guest, and powers it off. Both use the agent.
set -euo pipefail

"$VM" exec -- /rules_qcow2/agent -help
"$VM" poweroff
