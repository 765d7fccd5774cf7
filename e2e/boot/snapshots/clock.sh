#!/usr/bin/env bash
# A guest that resumed has the time of the host, not that of its save.
set -euo pipefail

"$VM" copy "$1" :/program
before=$(date +%s)
now=$("$VM" exec -- /program now) # in nanoseconds
after=$(date +%s)
((now / 1000000000 >= before - 1 && now / 1000000000 <= after + 1))
