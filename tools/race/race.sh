#!/usr/bin/env bash
# race.sh runs the tests of machines and of the agent, with Bazel's Go and its race
# detector. They do not start a real QEMU.

set -euo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
# With -trimpath, Go's cache serves all checkouts. By default, each process sleeps for a second before it exits. Tests start many.
GORACE="${GORACE-} atexit_sleep_ms=20" \
  ./bazelw run --noshow_progress --ui_event_filters=-info,-stdout,-stderr @rules_go//go -- -C "$PWD" \
  test -race -short -trimpath ./go/vm/... ./guest/... ./internal/sparse ./tools/vm ./tools/vmboot
