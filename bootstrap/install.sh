#!/bin/bash
# install.sh PACKAGES... runs inside the private root, and installs them there.

set -eu

chmod 1777 /tmp

# Packages must not start their services, which would take the machine's ports.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d

# A mirror that is frozen at some date serves an expired Release file. apt still
# checks its signature.
apt=(apt-get --yes --no-install-recommends -o Acquire::Retries=3 -o Acquire::Check-Valid-Until=false)
if [[ -e /run/machine-certificates.crt ]]; then
  apt+=(-o Acquire::https::CAInfo=/run/machine-certificates.crt)
fi

# If an earlier run was killed, some packages are unpacked but not configured.
dpkg --configure -a
"${apt[@]}" update
"${apt[@]}" --fix-broken install
"${apt[@]}" install "$@"

# Debian's bazelrc overrides modules one by one and keeps all sandboxes for
# debugging. registry.sh writes the bazelrc that is used instead.
rm -f /etc/bazel/bazelrc

apt-get clean
rm -rf /var/lib/apt/lists/*
