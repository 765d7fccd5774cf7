# shellcheck shell=bash
# Output bases of workspaces that do not exist any more.

# Removes them: 1 to 3 GB for each deleted clone or worktree, and each workspace in it.
remove_gone() {
  local base workspace
  for base in "$CACHE"/bazel/*/; do
    base=${base%/}
    workspace=$(cat "$base/DO_NOT_BUILD_HERE" 2>/dev/null) || continue
    [[ ! -d $workspace ]] || continue
    say "removing the output base of $workspace, which does not exist any more"
    # Two calls may do this at the same time.
    { end_server "$base" && chmod -R u+w "$base" && rm -rf "$base"; } 2>/dev/null || true
  done
}

# end_server OUTPUT_BASE ends the Bazel server that uses it, if one does.
end_server() {
  local pid
  pid=$(cat "$1/server/server.pid.txt") || return 0
  for ((i = 0; i < 100; i++)); do
    # Another process may have its number by now.
    grep --quiet --null-data --fixed-strings --line-regexp -e "--output_base=$1" "/proc/$pid/cmdline" || return 0
    ((i > 0)) || kill "$pid"
    sleep 0.1
  done
  return 1
}
