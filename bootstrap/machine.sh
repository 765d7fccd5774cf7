# shellcheck shell=bash
# What the machine must offer, and what is taken from it.

# At its largest the set-up holds 0.8 GB of packages beside 1.6 GB of files; a
# build wants room as well.
NEEDED_MB=4000

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# Bazel splits its flags, and many a tool its arguments, at white space.
check_cache_folder() {
  [[ $CACHE =~ ^[A-Za-z0-9/._+@~-]+$ ]] ||
    die "the cache folder is '$CACHE', it must hold letters, digits and /._+@~- only; set RULES_QCOW2_CACHE to another"
}

check_machine() {
  local machine
  machine=$(uname -sm)
  [[ $machine == "Linux x86_64" ]] ||
    die "this machine is $machine, the private Bazel is for Linux x86_64 only; install bazelisk instead"
  [[ -n $(type -P apt-get) && -n $(type -P dpkg) ]] ||
    die "this machine has no apt-get, the private Bazel needs a Debian-like distribution; install bazelisk instead"
  ((EUID == 0)) ||
    die "setting up the private Bazel needs root, and this is user $EUID; run it as root once, or install bazelisk"
}

# Prints how many megabytes the cache folder may still grow by.
free_space() { df --output=avail --block-size=1M "$CACHE" | tail -n 1 | tr -d ' '; }

check_space() {
  local free used=0
  free=$(free_space)
  # What an earlier, interrupted call has put there need not fit again.
  [[ ! -d $ROOT ]] || used=$(du --summarize --block-size=1M "$ROOT" | cut -f 1)
  ((free + used >= NEEDED_MB)) ||
    die "$CACHE needs $((NEEDED_MB - used)) MB of free space, there are $free MB; free some, or set RULES_QCOW2_CACHE to a folder on another disk"
}

# Installs the few programs that the set-up itself runs on.
provide_host_tools() {
  local -a missing=()
  type -P debootstrap >/dev/null || missing+=(debootstrap)
  type -P bwrap >/dev/null || missing+=(bubblewrap)
  [[ -e $KEYRING ]] || missing+=(debian-archive-keyring)
  if ((${#missing[@]} > 0)); then
    install_host_tools "${missing[@]}" 2>"$LOG" </dev/null || {
      tail -n 5 "$LOG" | sed 's/^/  | /' >&2
      die "cannot install ${missing[*]} with apt-get; is the network up, and do the apt sources serve them?"
    }
  fi
  bwrap --dev-bind / / true 2>"$LOG" ||
    die "bubblewrap cannot make a mount namespace here ($(tail -n 1 "$LOG")); in a container, start it with --privileged"
}

# A machine's package lists may be missing or old; they are fetched only then.
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

# Prints the base addresses in the apt sources of this machine, both formats.
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
    # deb822: a field may go on in the lines below it, which start with a blank.
    FILENAME ~ /\.sources$/ && /^[^ \t]/ { field = tolower($1) }
    FILENAME ~ /\.sources$/ && field == "uris:" {
      for (i = 1; i <= NF; i++) if (tolower($i) != "uris:") print $i
    }' "${files[@]}" | grep -E '^(https?|file):' | awk '!seen[$0]++'
}

# Sets MIRROR to the first source that carries the suite.
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
    die "$where name no mirror; set RULES_QCOW2_MIRROR to one of Debian's"
  : >"$LOG"
  for MIRROR in "${candidates[@]}"; do
    if apt_fetch "${MIRROR%/}/dists/$SUITE/InRelease" "$release" >>"$LOG" 2>&1; then
      rm -f "$release"
      return
    fi
  done
  # A mirror that answers at all answers 404 for what it does not carry.
  if grep --quiet 404 "$LOG"; then
    die "no mirror in $where carries Debian $SUITE; set RULES_QCOW2_MIRROR to one that does, or install bazelisk"
  fi
  die "no mirror in $where can be reached, is the network up? (The log is in $LOG.)"
}

# apt's own fetcher, so that the machine's proxy settings hold.
apt_fetch() {
  /usr/lib/apt/apt-helper -o APT::Sandbox::User=root -o Acquire::Retries=1 -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15 \
    download-file "$1" "$2" </dev/null
}
