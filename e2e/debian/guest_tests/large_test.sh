#!/usr/bin/env bash
# The large file has arrived, and does not take the guest's memory.
set -euo pipefail
cd guest_tests
[[ $(stat --file-system --format=%T large.bin) != tmpfs ]]
sha256sum --check large.sha256
