#!/usr/bin/env bash
# The large file has arrived.
set -euo pipefail
cd guest_tests
sha256sum --check large.sha256
