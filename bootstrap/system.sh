# shellcheck shell=bash
# Finds a Bazel that the machine already has.

OLDEST_BAZEL=7.7

# Prints the program to run. `bazel --version` is answered by the client alone
# and starts no server. That the Central Registry can be reached is presumed:
# to ask would cost every call a round trip.
system_bazel() {
  type -P bazelisk && return
  local bazel version
  bazel=$(type -P bazel) || return
  # Somebody's link named bazel that leads back to us.
  [[ ! $bazel -ef ${BASH_SOURCE[1]} ]] || return
  version=$("$bazel" --version) || return
  version=${version#bazel }
  if ! printf '%s\n' "$OLDEST_BAZEL" "$version" | sort -VC; then
    say "$bazel is version $version, older than $OLDEST_BAZEL, and is left alone"
    return 1
  fi
  echo "$bazel"
}
