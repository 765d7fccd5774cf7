# shellcheck shell=bash
# Makes the private root: Debian's testing suite, for its Bazel and QEMU. Files
# in it, `base` and $PACKAGES, say that a step is done.

SUITE=forky

# The steps that change the root run in namespaces of their own: mounts made
# on the way are gone, and processes dead, as soon as this process is.
bwrap_root() {
  bwrap --unshare-pid --die-with-parent --cap-add ALL "$@" 9>&-
}

make_base() {
  rm -rf "$ROOT"
  mkdir "$ROOT"
  # Home folders are often mounted `nodev`, which debootstrap refuses. Its script
  # for sid serves every newer suite, and is there even where the suite is
  # younger than the machine's debootstrap.
  # shellcheck disable=SC2016 # expands inside
  bwrap_root --dev-bind / / --proc /proc -- \
    sh -ec 'mount --bind "$0" "$0" && mount -o remount,bind,dev "$0" && exec "$@"' "$ROOT" \
    debootstrap --variant=minbase --arch=amd64 --force-check-gpg --keyring="$KEYRING" \
    "$SUITE" "$ROOT" "$MIRROR" /usr/share/debootstrap/scripts/sid
  {
    # Half a gigabyte that nothing here reads.
    printf 'path-exclude=%s\n' '/usr/share/doc/*' '/usr/share/info/*' '/usr/share/locale/*' \
      '/usr/share/man/*' '/usr/lib/jvm/*/jmods/*'
    # A root that a power cut spoils is made anew.
    echo force-unsafe-io
  } >"$ROOT/etc/dpkg/dpkg.cfg.d/lean"
  # enter() puts the machine's files over these.
  touch "$ROOT"/etc/{resolv.conf,hosts,passwd,group}
  : >"$ROOT/base"
}

install_packages() {
  local -a packages mounts env
  local path name
  mapfile -t packages <"$BOOTSTRAP/packages.txt"

  mounts=(--bind "$ROOT" / --dev /dev --proc /proc --ro-bind /sys /sys --tmpfs /tmp)
  for path in /etc/resolv.conf /etc/hosts; do
    [[ ! -e $path ]] || mounts+=(--ro-bind "$path" "$path")
  done
  # A mirror behind https is checked against the machine's certificates; the
  # root's own are about to be installed.
  path=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
  [[ ! -r $path ]] || mounts+=(--ro-bind "$path" /run/machine-certificates.crt)
  mounts+=(--ro-bind "$BOOTSTRAP/install.sh" /run/install.sh)

  env=(--setenv PATH /usr/sbin:/usr/bin:/sbin:/bin --setenv HOME /root --setenv TMPDIR /tmp)
  env+=(--setenv DEBIAN_FRONTEND noninteractive --setenv LC_ALL C.UTF-8)
  for name in "${MACHINE_VARIABLES[@]}"; do env+=(--unsetenv "$name"); done

  bwrap_root "${mounts[@]}" "${env[@]}" --chdir / -- bash /run/install.sh "${packages[@]}"
  # shellcheck disable=SC2153 # not a misspelling of packages
  : >"$ROOT/$PACKAGES"
}
