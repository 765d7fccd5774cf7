# shellcheck shell=bash
# Makes the private root: Debian's testing suite, for its Bazel and QEMU.

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
  mark base
}

install_packages() {
  local -a packages
  mapfile -t packages <"$BOOTSTRAP/packages.txt"
  local -a mounts=(--bind "$ROOT" / --dev /dev --proc /proc --ro-bind /sys /sys --tmpfs /tmp)
  local path
  for path in /etc/resolv.conf /etc/hosts; do
    [[ ! -e $path ]] || mounts+=(--ro-bind "$path" "$path")
  done
  # A mirror behind https is checked against the machine's certificates; the
  # root's own are about to be installed.
  local certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
  [[ ! -r $certificates ]] || mounts+=(--ro-bind "$certificates" /run/machine-certificates.crt)

  # shellcheck disable=SC2016 # expands inside
  bwrap_root "${mounts[@]}" --setenv PATH /usr/sbin:/usr/bin:/sbin:/bin \
    --setenv DEBIAN_FRONTEND noninteractive --setenv LC_ALL C.UTF-8 --setenv HOME /root \
    --unsetenv TMPDIR -- bash -euc '
      chmod 1777 /tmp
      # A mirror frozen at some date serves a Release file past its time. Its
      # signature is checked all the same, as debootstrap has done.
      apt=(apt-get --yes --no-install-recommends -o Acquire::Retries=3 -o Acquire::Check-Valid-Until=false)
      [[ ! -e /run/machine-certificates.crt ]] || apt+=(-o Acquire::https::CAInfo=/run/machine-certificates.crt)
      # After a kill: packages that were unpacked and never configured.
      dpkg --configure -a
      "${apt[@]}" update
      "${apt[@]}" --fix-broken install
      "${apt[@]}" install "$@"
      # Names modules in place of a registry, and keeps every sandbox for
      # debugging; the bazelrc that registry.sh writes is read instead.
      rm -f /etc/bazel/bazelrc
      apt-get clean
      rm -rf /var/lib/apt/lists/*
    ' bash "${packages[@]}"
}
