#!/usr/bin/env bash
# check.sh deletes a workspace whose Bazel server runs. The next call of bazelw must
# end the server, remove the output base, and leave those of other workspaces.

set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
export BAZELW=private

# A sandbox would have another /tmp.
scratch=$(mktemp -d -p /var/tmp)
trap 'rm -rf "$scratch"' EXIT
bazel() { (cd "$scratch/$1" && "$here/../bazelw" "${@:2}"); }
for name in gone stays; do
  mkdir "$scratch/$name"
  echo "module(name = \"$name\")" >"$scratch/$name/MODULE.bazel"
done
gone=$(bazel gone info output_base) stays=$(bazel stays info output_base)
pid=$(cat "$gone/server/server.pid.txt")
rm -r "$scratch/gone"

bazel stays --version
[[ ! -e $gone ]] || { echo "$gone is still there" && exit 1; }
# Nothing may have waited for it yet.
! grep --quiet '^State:.[^ZX]' "/proc/$pid/status" || { echo "the server $pid still runs" && exit 1; }
[[ -d $stays ]] || { echo "$stays is not there any more" && exit 1; }
bazel stays clean --expunge
