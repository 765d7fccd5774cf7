#!/bin/sh
# Prepares a guest's disk for many machines: removes identities, logs and caches. Prints a
# line for each thing that was done. Programs that the guest does not have are left out.

remove() {
  for file; do
    if [ -e "$file" ] || [ -L "$file" ]; then
      rm -rf -- "$file" && echo "removed $file"
    fi
  done
}

# Empty files keep their owners and modes.
empty() {
  for file; do
    if [ -f "$file" ] && [ ! -L "$file" ] && [ -s "$file" ]; then
      : >"$file" && echo "emptied $file"
    fi
  done
}

has() { command -v "$1" >/dev/null 2>&1; }

# Otherwise systemd writes these at the power-off.
if has systemctl && [ -d /run/systemd/system ]; then
  systemctl stop systemd-random-seed.service 2>/dev/null && echo "stopped systemd-random-seed.service"
  journalctl --relinquish-var 2>/dev/null && echo "journald writes to /run"
fi

# systemd makes a new machine ID if the file is empty.
empty /etc/machine-id
[ -L /var/lib/dbus/machine-id ] || remove /var/lib/dbus/machine-id
remove /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
remove /var/lib/systemd/random-seed /var/lib/urandom/random-seed /var/lib/systemd/credential.secret
remove /boot/loader/random-seed /boot/efi/loader/random-seed /efi/loader/random-seed
remove /var/lib/dhcp/*.leases /var/lib/dhcpcd/*.lease /var/lib/NetworkManager/*.lease

remove /var/log/journal/*
if has find; then
  find /var/log -xdev -type f -size +0 2>/dev/null | while IFS= read -r file; do empty "$file"; done
fi
remove /root/.bash_history /root/.ash_history

remove /var/cache/apt/archives/*.deb /var/cache/apt/*.bin
remove /var/cache/dnf/* /var/cache/yum/* /var/cache/apk/* /var/cache/pacman/pkg/* /var/cache/zypp/packages/*
for file in /tmp/* /var/tmp/*; do
  case ${file##*/} in
    systemd-private-*) ;; # of services that run
    *) remove "$file" ;;
  esac
done

sync
if has fstrim; then
  fstrim -v -a 2>/dev/null || fstrim -v / || echo "fstrim failed: deleted files take space in the layer"
else
  echo "fstrim is missing: deleted files take space in the layer"
fi
