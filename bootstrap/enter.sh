# shellcheck shell=bash
# Runs a program among the private root's programs and the machine's files.

# These name programs and files of the machine, which are not in the root.
MACHINE_VARIABLES=(BASH_ENV CC CXX GOROOT JAVA_HOME LD_LIBRARY_PATH LD_PRELOAD PERL5LIB PYTHONHOME PYTHONPATH)

# enter PROGRAM ARGS... replaces this process; ENTER_OPTIONS are for bwrap.
#
# /usr, /etc and what belongs to them come from the private root, read-only;
# everything else is the machine's own. The mounts depend on nothing but the
# machine, so a Bazel server started by one call sees what the next one sees.
ENTER_OPTIONS=()
enter() {
  local -a mounts=(--ro-bind "$ROOT/usr" /usr --ro-bind "$ROOT/etc" /etc)
  local path name
  for name in bin sbin lib lib32 lib64 libx32; do
    [[ ! -L $ROOT/$name ]] || mounts+=(--symlink "usr/$name" "/$name")
  done
  for path in /*; do
    case $path in
      /bin | /boot | /dev | /etc | /lib | /lib32 | /lib64 | /libx32) continue ;;
      /lost+found | /proc | /sbin | /sys | /usr) continue ;;
    esac
    if [[ -L $path ]]; then
      mounts+=(--symlink "$(readlink "$path")" "$path")
    elif [[ -d $path ]]; then
      mounts+=(--bind "$path" "$path")
    fi
  done
  # Bazel's sandbox mounts /proc anew, which the kernel allows only where the
  # outer /proc is the real one: `--proc` would make Bazel give up linux-sandbox.
  mounts+=(--dev-bind /dev /dev --dev-bind /proc /proc --ro-bind /sys /sys)

  # How this machine names hosts and users, and whom it trusts.
  for path in /etc/resolv.conf /etc/hosts /etc/passwd /etc/group; do
    [[ ! -e $path ]] || mounts+=(--ro-bind "$path" "$path")
  done
  local certificates=/etc/ssl/certs/ca-certificates.crt
  path=${SSL_CERT_FILE:-$certificates}
  if [[ -r $path ]]; then
    mounts+=(--ro-bind "$path" "$certificates")
    mounts+=(--setenv SSL_CERT_FILE "$certificates")
  fi

  # A checkout or cache folder may lie below what the root replaces.
  for path in "$PWD" "$(dirname "$BOOTSTRAP")" "$CACHE"; do
    case $path in
      /usr/* | /etc/*)
        mkdir -p "$ROOT$path"
        mounts+=(--bind "$path" "$path")
        ;;
    esac
  done

  local -a env=(--setenv PATH /usr/sbin:/usr/bin:/sbin:/bin --setenv GOTOOLCHAIN local)
  for name in "${MACHINE_VARIABLES[@]}"; do env+=(--unsetenv "$name"); done
  if [[ ${HOME:-/} == / ]]; then
    mkdir -p "$CACHE/home"
    env+=(--setenv HOME "$CACHE/home")
  fi

  # bwrap waits for the program. Ctrl-C is meant for the program (Bazel ends the
  # build in good order), so bwrap has to outlast it. A kill that meets bwrap
  # is passed on; a Bazel server, which has long left its parents, stays.
  trap '' INT QUIT
  exec bwrap "${ENTER_OPTIONS[@]}" "${mounts[@]}" "${env[@]}" --chdir "$PWD" -- \
    setpriv --pdeathsig TERM env --default-signal=INT,QUIT "$@"
}
