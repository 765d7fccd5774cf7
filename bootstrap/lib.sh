# shellcheck shell=bash
# shellcheck disable=SC2034 # the scripts that source this use the variables
# Messages, and paths in the cache folder, for all scripts here.

say() { printf 'bazelw: %s\n' "$*" >&2; }

die() {
  say "error: $*"
  exit 1
}

# Prints the home folder. If HOME is not set, bash's ~ reads it from the password
# file.
home() { if [[ -n ${HOME-} ]]; then echo "$HOME"; else unset HOME && echo ~; fi; }

if [[ -n ${RULES_QCOW2_CACHE-} ]]; then
  CACHE=$RULES_QCOW2_CACHE
else
  CACHE=${XDG_CACHE_HOME:-$(home)/.cache}/rules_qcow2
fi
[[ $CACHE == /* ]] || CACHE=$PWD/$CACHE
ROOT=$CACHE/root

BOOTSTRAP=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

# Prints a checksum of files and folders. A step whose inputs changed runs again,
# and checkouts that differ can share one cache.
fingerprint() { (cd "$BOOTSTRAP" && find "$@" -type f | LC_ALL=C sort | xargs cat | cksum | tr -d ' '); }
PACKAGES=packages-$(fingerprint packages.txt)
REGISTRY=registry-$(fingerprint modules.txt registry.sh standins)

ready() { [[ -e $ROOT/$PACKAGES && -e $CACHE/$REGISTRY ]]; }
