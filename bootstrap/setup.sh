#!/usr/bin/env bash
# setup.sh [PROGRAM ARGS...] sets up the private root and the module registry in
# the cache folder, then runs the program. After a failure or a kill, the next call
# continues with the first step that is not finished.

set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=bootstrap/lib.sh
source "$here/lib.sh"
# shellcheck source=bootstrap/enter.sh
source "$here/enter.sh"
# shellcheck source=bootstrap/machine.sh
source "$here/machine.sh"
# shellcheck source=bootstrap/root.sh
source "$here/root.sh"
# shellcheck source=bootstrap/registry.sh
source "$here/registry.sh"

# step TITLE FUNCTION runs FUNCTION with its output in the log, and prints how long
# it took. It runs in this process, because bwrap ends its programs when this process
# ends. A command that fails ends the process, and report_failure prints why.
STEP=
step() {
  local start=$SECONDS
  STEP=$1
  say "$STEP ..."
  "$2" >"$LOG" 2>&1 </dev/null
  say "$STEP: done in $((SECONDS - start)) s"
  STEP=
}

report_failure() {
  local status=$? reason next="the next call continues from here"
  [[ -n $STEP ]] || return 0
  exec 2>&8 # the step's redirection is still in force
  # A failed command has a status from 1 to 128. Otherwise a signal ended this process.
  if ((status == 0 || status > 128)); then
    say "$STEP: interrupted; $next"
    return
  fi
  tail -n 15 "$LOG" | sed 's/^/  | /' >&2
  if (($(free_space) < 50)); then
    reason="the disk that holds $CACHE is full"
  elif grep --quiet --extended-regexp --ignore-case "$NETWORK_ERRORS" "$LOG"; then
    reason="the network is not reachable"
  else
    reason="the log is in $LOG"
    # The files of an earlier call may be the reason, so they are made again. A root
    # that was finished once is kept: Bazel servers may use it.
    if ! compgen -G "$ROOT/packages-*" >/dev/null; then
      rm -f "$ROOT/base"
      next="the next call starts again from step 1"
    fi
  fi
  say "error: $STEP failed: $reason; $next"
}
NETWORK_ERRORS='could not resolve|failure resolving|unable to resolve|no such host|unreachable|timed out|i/o timeout|connection refused|could not connect'
exec 8>&2
trap report_failure EXIT

main() {
  check_cache_folder
  check_machine
  mkdir -p "$CACHE" || die "cannot create the cache folder $CACHE"
  LOG=$CACHE/setup.log

  # The lock is released when the last process that holds it ends. `bwrap
  # --die-with-parent` ends all processes of a set-up that is killed.
  exec 9>"$CACHE/lock"
  if ! flock --nonblock 9; then
    say "another call is setting up $CACHE, waiting for it"
    flock 9
  fi
  ! ready || return 0

  say "setting up a private Bazel in $CACHE"
  local start=$SECONDS
  if [[ ! -e $ROOT/$PACKAGES ]]; then
    check_space
    provide_host_tools
    find_mirror
    [[ -e $ROOT/base ]] || step "1/3 base system of Debian $SUITE" make_base
    step "2/3 Bazel, QEMU and Go (up to 800 MB to download)" install_packages
  fi
  [[ -e $CACHE/$REGISTRY ]] || step "3/3 Bazel module registry" make_registry
  say "set up in $((SECONDS - start)) s"
}

main
# A Bazel server that keeps running must not hold the lock or the output.
exec 8>&- 9>&-
(($# == 0)) || exec "$@"
