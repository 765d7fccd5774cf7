# shellcheck shell=bash
# Makes the private root from Debian's testing suite, for its Bazel and QEMU. The
# files `base` and $PACKAGES in it mark finished steps.

SUITE=forky

# The steps that change the root run in separate namespaces: their mounts and
# processes end with this process.
bwrap_root() {
  bwrap --unshare-pid --die-with-parent --cap-add ALL "$@" 9>&-
}

make_base() {
  rm -rf "$ROOT"
  mkdir "$ROOT"
  # Home folders are often mounted `nodev`, which debootstrap refuses. Its script
  # for sid works for every newer suite, also if the machine's debootstrap does
  # not know the suite.
  # shellcheck disable=SC2016 # expands inside
  bwrap_root --dev-bind / / --proc /proc -- \
    sh -ec 'mount --bind "$0" "$0" && mount -o remount,bind,dev "$0" && exec "$@"' "$ROOT" \
    debootstrap --variant=minbase --arch=amd64 --force-check-gpg --keyring="$KEYRING" \
    "$SUITE" "$ROOT" "$MIRROR" /usr/share/debootstrap/scripts/sid
  {
    # 0.5 GB that nothing here reads.
    printf 'path-exclude=%s\n' '/usr/share/doc/*' '/usr/share/info/*' '/usr/share/locale/*' \
      '/usr/share/man/*' '/usr/lib/jvm/*/jmods/*'
    # Syncing is not needed: if power fails, a user can make another root.
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
  # apt verifies an https mirror with the machine's certificates: those of the
  # root are not installed yet.
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
