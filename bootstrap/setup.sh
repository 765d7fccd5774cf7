#!/usr/bin/env bash
# Sets up the private root and the module registry in the cache folder. What is
# done stays done: after a failure or a kill the next call takes up from there.

set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=lib.sh
source "$here/lib.sh"
# shellcheck source=enter.sh
source "$here/enter.sh"
# shellcheck source=machine.sh
source "$here/machine.sh"
# shellcheck source=root.sh
source "$here/root.sh"
# shellcheck source=registry.sh
source "$here/registry.sh"

# step TITLE FUNCTION runs FUNCTION with its output in the log, and says how
# long it took, or how its log ended.
step() {
  local title=$1 work=$2 start=$SECONDS status=0
  say "$title ..."
  # Not `"$work" || …`: there, bash would go on after a command that failed.
  set +e
  (
    set -e
    "$work"
  ) >"$LOG" 2>&1 </dev/null
  status=$?
  set -e
  if ((status != 0)); then
    tail -n 15 "$LOG" | sed 's/^/  | /' >&2
    die "$title: failed (the whole log is in $LOG); the next call takes up from here"
  fi
  say "$title: done in $((SECONDS - start)) s"
}

main() {
  check_cache_folder
  mkdir -p "$CACHE" || die "cannot make the cache folder $CACHE"
  LOG=$CACHE/setup.log

  # The lock is let go when the last process that holds it ends; `bwrap
  # --die-with-parent` sees to it that a killed set-up leaves none behind.
  exec 9>"$CACHE/lock"
  if ! flock --nonblock 9; then
    say "another call is setting up $CACHE, waiting for it"
    flock 9
  fi
  ! ready || return 0

  say "no Bazel on PATH, setting up a private one in $CACHE"
  local start=$SECONDS
  check_machine
  if ! done_with "$PACKAGES"; then
    check_space
    provide_host_tools
    find_mirror
    done_with base || step "1/3 base system of Debian $SUITE" make_base
    step "2/3 Bazel, QEMU and Go (750 MB to download)" install_packages
    mark "$PACKAGES"
  fi
  if ! done_with "$REGISTRY"; then
    step "3/3 Bazel module registry" make_registry
    mark "$REGISTRY"
  fi
  say "set up in $((SECONDS - start)) s"
}

main
