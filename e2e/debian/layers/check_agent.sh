#!/usr/bin/env bash
# Runs while a guest does that has the agent as a service.
set -euo pipefail

"$VM" exec -- systemctl is-active vm-agent
"$VM" poweroff
