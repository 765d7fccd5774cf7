#!/bin/bash
# install.sh PACKAGES... runs inside the private root, and installs them there.

set -eu

chmod 1777 /tmp

# No package is to start its service: the ports belong to the machine.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d

# A mirror frozen at some date serves a Release file past its time. Its
# signature is checked all the same, as debootstrap has done.
apt=(apt-get --yes --no-install-recommends -o Acquire::Retries=3 -o Acquire::Check-Valid-Until=false)
if [[ -e /run/machine-certificates.crt ]]; then
  apt+=(-o Acquire::https::CAInfo=/run/machine-certificates.crt)
fi

# After a kill: packages that were unpacked and never configured.
dpkg --configure -a
"${apt[@]}" update
"${apt[@]}" --fix-broken install
"${apt[@]}" install "$@"

# Debian's bazelrc names modules in place of a registry, and keeps every sandbox
# for debugging; the one that registry.sh writes is read instead.
rm -f /etc/bazel/bazelrc

apt-get clean
rm -rf /var/lib/apt/lists/*
