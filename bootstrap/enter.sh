# shellcheck shell=bash
# Runs a program with the private root's programs and the machine's files.

# Variables that name programs and files of the machine, which the root lacks.
MACHINE_VARIABLES=(BASH_ENV CC CXX GOROOT JAVA_HOME LD_LIBRARY_PATH LD_PRELOAD PERL5LIB PYTHONHOME PYTHONPATH)

# enter PROGRAM ARGS... replaces this process; ENTER_OPTIONS are for bwrap.
#
# /usr, /etc and the links into them come from the private root, read-only.
# Everything else is the machine's. The mounts depend only on the machine, so a
# Bazel server of one call sees the same files as the next call.
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
  # Bazel's sandbox mounts another /proc. The kernel allows that only if the outer
  # /proc is the real one: with `--proc`, Bazel would not use linux-sandbox.
  mounts+=(--dev-bind /dev /dev --dev-bind /proc /proc --ro-bind /sys /sys)

  # The machine's names of hosts and users, and its certificates.
  for path in /etc/resolv.conf /etc/hosts /etc/passwd /etc/group; do
    [[ ! -e $path ]] || mounts+=(--ro-bind "$path" "$path")
  done
  local certificates=/etc/ssl/certs/ca-certificates.crt
  path=${SSL_CERT_FILE:-$certificates}
  if [[ -r $path ]]; then
    mounts+=(--ro-bind "$path" "$certificates")
    mounts+=(--setenv SSL_CERT_FILE "$certificates")
  fi

  # A checkout or cache folder may be in a folder that the root replaces.
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

  # bwrap waits for the program. Ctrl-C is for the program, which may take time to
  # end, so bwrap ignores it. If bwrap is killed, the program gets SIGTERM. A Bazel
  # server keeps running: it is not a child of the program any more.
  trap '' INT QUIT
  exec bwrap "${ENTER_OPTIONS[@]}" "${mounts[@]}" "${env[@]}" --chdir "$PWD" -- \
    setpriv --pdeathsig TERM env --default-signal=INT,QUIT "$@"
}
