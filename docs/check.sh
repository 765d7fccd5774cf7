#!/usr/bin/env bash
# check.sh [-lint] [PAGE...] runs the code of the documentation, or only of the README
# and the named pages: snippets/main.go describes how. With -lint it only checks links
# and names, and that each block that is not run has a reason.

set -euo pipefail

checkout=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
cd "$checkout"
# shellcheck source=bootstrap/lib.sh
source bootstrap/lib.sh

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT

# snippets/ is a Go module that Bazel does not build. This is the go command of its
# toolchain.
./bazelw run --noshow_progress --ui_event_filters=-info,-stdout,-stderr @rules_go//go -- \
  -C "$checkout/docs/snippets" build -o "$bin/snippets" .

# QEMU's programs may exist only in the private root.
for name in qemu-img qemu-io; do
  if ready && ! type -P "$name" >/dev/null; then
    printf '#!/bin/sh\nexec %q %s "$@"\n' "$checkout/bootstrap/in-root" "$name" >"$bin/$name"
    chmod +x "$bin/$name"
  fi
done
PATH=$bin:$PATH "$bin/snippets" -checkout "$checkout" "$@"
