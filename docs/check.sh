#!/usr/bin/env bash
# check.sh [-lint] [PAGE...] runs the code of the documentation, or only of the README
# and the named pages: snippets/main.go describes how. With -lint it only checks links
# and names, and that each block that is not run has a reason.

set -euo pipefail

checkout=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
cd "$checkout"
# shellcheck source=bootstrap/lib.sh
source bootstrap/lib.sh

./bazelw build --noshow_progress //docs/snippets
program=$(./bazelw cquery --noshow_progress --output=files //docs/snippets)
root=$(./bazelw info --noshow_progress execution_root)

# QEMU's programs may exist only in the private root.
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
for name in qemu-img qemu-io; do
  if ready && ! type -P "$name" >/dev/null; then
    printf '#!/bin/sh\nexec %q %s "$@"\n' "$checkout/bootstrap/in-root" "$name" >"$bin/$name"
    chmod +x "$bin/$name"
  fi
done
PATH=$bin:$PATH "$root/$program" -checkout "$checkout" "$@"
