# shellcheck shell=bash
# shellcheck disable=SC2034 # the variables are for those who source this
# What every script here needs: messages, and where things are in the cache.

say() { printf 'bazelw: %s\n' "$*" >&2; }

die() {
  say "error: $*"
  exit 1
}

# The account's home folder stands in for a HOME that is unset; bash's ~ asks
# the password file.
home() { if [[ -n ${HOME-} ]]; then echo "$HOME"; else unset HOME && echo ~; fi; }

if [[ -n ${RULES_QCOW2_CACHE-} ]]; then
  CACHE=$RULES_QCOW2_CACHE
else
  CACHE=${XDG_CACHE_HOME:-$(home)/.cache}/rules_qcow2
fi
[[ $CACHE == /* ]] || CACHE=$PWD/$CACHE
ROOT=$CACHE/root

BOOTSTRAP=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

# Names what the given files and folders hold, so that a step whose inputs changed is done
# again, and two checkouts that differ can share one cache.
fingerprint() { (cd "$BOOTSTRAP" && find "$@" -type f | LC_ALL=C sort | xargs cat | cksum | tr -d ' '); }
PACKAGES=packages-$(fingerprint packages.txt)
REGISTRY=registry-$(fingerprint modules.txt registry.sh standins)

ready() { [[ -e $ROOT/$PACKAGES && -e $CACHE/$REGISTRY ]]; }
