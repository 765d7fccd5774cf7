# shellcheck shell=bash
# Checks the machine, installs programs on it, and finds a mirror.

# During the set-up, 0.8 GB of packages and 1.6 GB of files exist at once; builds
# need space as well.
NEEDED_MB=4000

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# Bazel splits the flags in a bazelrc at white space, and so do other tools.
check_cache_folder() {
  [[ $CACHE =~ ^[A-Za-z0-9/._+@~-]+$ ]] ||
    die "the path of the cache folder, '$CACHE', must consist of letters, digits and /._+@~-; set RULES_QCOW2_CACHE to another folder"
}

check_machine() {
  local machine
  machine=$(uname -sm)
  [[ $machine == "Linux x86_64" ]] ||
    die "the private Bazel supports Linux x86_64 only, and this machine is $machine; install bazelisk instead"
  [[ -n $(type -P apt-get) && -n $(type -P dpkg) ]] ||
    die "the private Bazel needs a Debian-like distribution, and apt-get or dpkg is missing; install bazelisk instead"
  ((EUID == 0)) ||
    die "the set-up of the private Bazel needs root, and this is user $EUID; run it as root once, or install bazelisk"
}

# Prints the free space for the cache folder, in MiB.
free_space() { df --output=avail --block-size=1M "$CACHE" | tail -n 1 | tr -d ' '; }

check_space() {
  local free used=0
  free=$(free_space)
  # Files of an earlier, interrupted call do not need space again.
  [[ ! -d $ROOT ]] || used=$(du --summarize --block-size=1M "$ROOT" | cut -f 1)
  ((free + used >= NEEDED_MB)) ||
    die "$CACHE needs $((NEEDED_MB - used)) MB of free space, and has $free MB; free some, or set RULES_QCOW2_CACHE to a folder on another disk"
}

# Installs the programs that the set-up needs on the machine.
provide_host_tools() {
  local -a missing=()
  type -P debootstrap >/dev/null || missing+=(debootstrap)
  type -P bwrap >/dev/null || missing+=(bubblewrap)
  [[ -e $KEYRING ]] || missing+=(debian-archive-keyring)
  if ((${#missing[@]} > 0)); then
    install_host_tools "${missing[@]}" 2>"$LOG" </dev/null || {
      tail -n 5 "$LOG" | sed 's/^/  | /' >&2
      die "cannot install ${missing[*]} with apt-get; check the network and the apt sources"
    }
  fi
  bwrap --dev-bind / / true 2>"$LOG" ||
    die "bubblewrap cannot create a mount namespace ($(tail -n 1 "$LOG")); start a container with --privileged"
}

# Fetches the package lists only if they are missing or too old to install from.
install_host_tools() {
  apt_install "$@" || { apt-get update >&2 && apt_install "$@"; }
}

apt_install() {
  local -a install=(apt-get install --yes --no-install-recommends -o APT::Keep-Downloaded-Packages=false)
  local plan
  plan=$("${install[@]}" --simulate "$@") || return
  say "installing on this machine:$(awk '/^Inst / { printf " %s", $2 }' <<<"$plan")" 2>&8
  DEBIAN_FRONTEND=noninteractive "${install[@]}" "$@" >&2
}

# Prints the base addresses in the machine's apt sources, of both formats.
apt_sources() {
  local -a files=()
  local file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
    [[ ! -r $file ]] || files+=("$file")
  done
  ((${#files[@]} == 0)) || awk '
    { sub(/#.*/, "") }
    # One-line: deb [options] ADDRESS suite component...
    FILENAME ~ /\.list$/ && $1 == "deb" { sub(/\[[^]]*\]/, ""); print $2 }
    # deb822: a field continues in lines that start with a blank.
    FILENAME ~ /\.sources$/ && /^[^ \t]/ { field = tolower($1) }
    FILENAME ~ /\.sources$/ && field == "uris:" {
      for (i = 1; i <= NF; i++) if (tolower($i) != "uris:") print $i
    }' "${files[@]}" | grep -E '^(https?|file):' | awk '!seen[$0]++'
}

# Sets MIRROR to the first source that has the suite.
find_mirror() {
  local -a candidates=()
  local release=$CACHE/InRelease where="the apt sources of this machine"
  if [[ -n ${RULES_QCOW2_MIRROR-} ]]; then
    candidates=("$RULES_QCOW2_MIRROR")
    where=RULES_QCOW2_MIRROR
  else
    mapfile -t candidates < <(apt_sources)
  fi
  ((${#candidates[@]} > 0)) ||
    die "$where do not name a mirror; set RULES_QCOW2_MIRROR to a Debian mirror"
  : >"$LOG"
  for MIRROR in "${candidates[@]}"; do
    if apt_fetch "${MIRROR%/}/dists/$SUITE/InRelease" "$release" >>"$LOG" 2>&1; then
      rm -f "$release"
      return
    fi
  done
  # A mirror that works answers 404 for a suite that it does not have.
  if grep --quiet 404 "$LOG"; then
    die "none of the mirrors in $where has Debian $SUITE; set RULES_QCOW2_MIRROR to one that has it, or install bazelisk"
  fi
  die "cannot reach any mirror in $where; check the network, and the log $LOG"
}

# Uses apt's downloader, which follows the machine's proxy settings.
apt_fetch() {
  /usr/lib/apt/apt-helper -o APT::Sandbox::User=root -o Acquire::Retries=1 -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15 \
    download-file "$1" "$2" </dev/null
}
