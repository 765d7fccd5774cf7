# shellcheck shell=bash
# Finds a Bazel on the machine.

OLDEST_BAZEL=7.7

# Prints the program to run. `bazel --version` does not start a server. The Central
# Registry is assumed to be reachable: a check would cost each call a round trip.
system_bazel() {
  type -P bazelisk && return
  local bazel version
  bazel=$(type -P bazel) || return
  # A user may have a link with the name bazel to this script.
  [[ ! $bazel -ef ${BASH_SOURCE[1]} ]] || return
  version=$("$bazel" --version) || return
  version=${version#bazel }
  if ! printf '%s\n' "$OLDEST_BAZEL" "$version" | sort -VC; then
    say "$bazel is not used: its version $version is older than $OLDEST_BAZEL"
    return 1
  fi
  echo "$bazel"
}
