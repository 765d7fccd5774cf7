#!/usr/bin/env bash
# make.sh NAME prints the folder that holds the files of a guest, and makes them
# from the packages of a Debian mirror if they are not in the cache:
#
#   debian12        vmlinuz, initrd.img, root.img
#   debian13        the same; disk.img, which boots on its own; for each of PACKAGES, a
#                   folder with the packages that its installation needs besides
#   debian13_arm64  vmlinuz, root.img
#   qemu7           qemu-system-x86_64, which starts QEMU 7.2 with the libraries of Debian 12
#
# root.img is an ext4 file system with the label "root". disk.img has a GPT, and
# starts GRUB under BIOS and under UEFI. The root for arm64 has only BusyBox.
#
# Exit status 77 means that this machine cannot make them. Standard error has the
# reason.
#
# The cache folder, the mirror and the variables for both are those of bazelw:
# bootstrap/README.md.

set -euo pipefail

bootstrap=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../bootstrap
# shellcheck source=bootstrap/lib.sh
source "$bootstrap/lib.sh"
# shellcheck source=bootstrap/machine.sh
source "$bootstrap/machine.sh"

MIB=1048576
SECTOR=512

# Where disk.img has its partitions, in MiB.
BIOS_AT=1 ESP_AT=2 ROOT_AT=34

PACKAGES=(nginx openssh-server python3)

GUEST=linux-image-cloud-amd64,initramfs-tools,systemd-sysv,udev,dbus,e2fsprogs,iproute2,login

main() {
  local name=$1
  FOLDER=$CACHE/debian/$name-$(fingerprint ../e2e/debian/make.sh)
  STAGE=$FOLDER.partial
  LOG=$FOLDER.log
  mkdir -p "$CACHE/debian"
  # Bazel starts one call per guest at the same time. Each has its own lock.
  exec 9>"$CACHE/debian/$name.lock"
  flock 9
  if [[ ! -d $FOLDER ]]; then
    rm -rf "$STAGE"
    mkdir "$STAGE"
    case $name in
      debian12) debian12 ;;
      debian13) debian13 ;;
      debian13_arm64) debian13_arm64 ;;
      qemu7) qemu7 ;;
      *) die "unknown guest '$name'; use debian12, debian13, debian13_arm64 or qemu7" ;;
    esac
    rm -f "$STAGE"/*.tar
    mv "$STAGE" "$FOLDER"
  fi
  echo "$FOLDER"
}

debian12() {
  require mmdebstrap mke2fs
  # ifupdown is what cloud-init configures the network with.
  make_root bookworm --include="$GUEST,cloud-init,ifupdown"
  take_kernel
  take_initrd
  make_root_image 1024
}

debian13() {
  require mmdebstrap mke2fs sfdisk mformat grub-mkimage
  for grub in i386-pc x86_64-efi; do
    [[ -d /usr/lib/grub/$grub ]] || skip "/usr/lib/grub/$grub is missing; install grub-pc-bin and grub-efi-amd64-bin"
  done
  local package
  local -a hooks=()
  for package in "${PACKAGES[@]}"; do
    mkdir "$STAGE/$package"
    # shellcheck disable=SC2016 # mmdebstrap sets the variables of a hook
    hooks+=(
      --customize-hook='rm -f "$1"/var/cache/apt/archives/*.deb'
      --customize-hook='APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --yes --download-only --no-install-recommends install '"$package"
      --customize-hook='mv "$1"/var/cache/apt/archives/*.deb "$STAGE/'"$package\""
    )
  done
  export STAGE
  make_root trixie --include="$GUEST" --customize-hook="copy-in $(grub_folder) /boot" "${hooks[@]}"
  take_kernel
  take_initrd
  make_root_image 768
  make_disk_image 768
  rm -rf "$STAGE/grub"
}

# The packages are unpacked. None of their scripts runs, so an emulator for arm64
# programs is not needed.
debian13_arm64() {
  require mmdebstrap mke2fs
  local root=$STAGE/root applet
  debootstrap trixie --variant=extract --architectures=arm64 --include=linux-image-cloud-arm64,busybox-static
  take_kernel
  mkdir -p "$root"/{bin,dev,etc,proc,root,run,sbin,sys,tmp}
  take ./usr/bin/busybox root/bin/busybox
  chmod +x "$root/bin/busybox"
  for applet in cat grep mount sh uname; do ln -s busybox "$root/bin/$applet"; done
  ln -s ../bin/busybox "$root/sbin/init"
  echo '::sysinit:/bin/mount -t proc proc /proc' >"$root/etc/inittab"
  mke2fs -q -t ext4 -L root -d "$root" "$STAGE/root.img" 16M
  rm -rf "$root"
}

# The packages are unpacked, and find each other's files by the wrapper's options.
qemu7() {
  require mmdebstrap
  debootstrap bookworm --variant=extract --include=qemu-system-x86,seabios,ipxe-qemu
  mkdir "$STAGE/root"
  tar --extract --file="$STAGE/root.tar" --directory="$STAGE/root" \
    ./lib/x86_64-linux-gnu ./usr/lib/x86_64-linux-gnu ./usr/bin/qemu-system-x86_64 ./usr/share/qemu ./usr/share/seabios ./usr/lib/ipxe
  cat >"$STAGE/qemu-system-x86_64" <<'END'
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/root
libraries=$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu
export QEMU_MODULE_DIR="$root/usr/lib/x86_64-linux-gnu/qemu"
exec "$root/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" --library-path "$libraries" "$root/usr/bin/qemu-system-x86_64" \
  -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" -L "$root/usr/lib/ipxe/qemu" "$@"
END
  chmod +x "$STAGE/qemu-system-x86_64"
}

skip() {
  say "$1"
  exit 77
}

require() {
  local program
  for program; do
    type -P "$program" >/dev/null || skip "$program is missing"
  done
}

# make_root SUITE OPTIONS... makes root.tar.
make_root() {
  local suite=$1
  shift
  # Without the last two hooks, the guest has the name and the name servers of
  # this machine.
  # shellcheck disable=SC2016 # mmdebstrap sets $1 of a hook
  debootstrap "$suite" --variant=apt "$@" \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt=force-unsafe-io \
    --customize-hook='echo "LABEL=root / ext4 defaults 0 1" >"$1/etc/fstab"' \
    --customize-hook='echo debian >"$1/etc/hostname"' \
    --customize-hook='rm -f "$1/etc/resolv.conf"'
}

# debootstrap SUITE OPTIONS... runs mmdebstrap, which writes root.tar.
debootstrap() {
  local suite=$1 mirror
  shift
  mirror=$(mirror_of "$suite") || exit
  # A mirror frozen at some date serves a Release file past its time.
  mmdebstrap "$@" --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Retries "3"' \
    "$suite" "$STAGE/root.tar" "deb [signed-by=$KEYRING] $mirror $suite main" >"$LOG" 2>&1 || {
    tail -n 15 "$LOG" | sed 's/^/  | /' >&2
    die "mmdebstrap failed for Debian $suite; the log is $LOG"
  }
}

# mirror_of SUITE prints the address of a mirror. find_mirror ends the process if
# it does not find one. It downloads to CACHE, where other guests' calls do too.
mirror_of() (
  # shellcheck disable=SC2034 # read by find_mirror
  SUITE=$1 CACHE=$STAGE
  trap '(($? == 0)) || exit 77' EXIT
  find_mirror
  # shellcheck disable=SC2153 # not a misspelling of mirror
  echo "$MIRROR"
)

take_kernel() { take './boot/vmlinuz-*' vmlinuz; }

take_initrd() { take './boot/initrd.img-*' initrd.img; }

# take PATTERN FILE copies one file of root.tar.
take() { tar --extract --to-stdout --file="$STAGE/root.tar" --wildcards "$1" >"$STAGE/$2"; }

# make_root_image MIB
make_root_image() { mke2fs -q -t ext4 -L root -d "$STAGE/root.tar" "$STAGE/root.img" "$1M"; }

# Makes the folder that becomes /boot/grub, and prints its path.
grub_folder() {
  mkdir "$STAGE/grub"
  cat >"$STAGE/grub/grub.cfg" <<'END'
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
linux /vmlinuz root=LABEL=root console=ttyS0
initrd /initrd.img
boot
END
  echo "$STAGE/grub"
}

# make_disk_image MIB makes disk.img with root.img, which has that size. GRUB's
# own installer wants block devices and root; this needs neither.
make_disk_image() {
  local size=$1 disk=$STAGE/disk.img grub=$STAGE/grub
  local modules="part_gpt ext2 search search_label normal configfile linux serial terminal"

  truncate -s $(((ROOT_AT + size + 1) * MIB)) "$disk"
  sfdisk --quiet "$disk" <<END
label: gpt
start=${BIOS_AT}MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649, name=bios
start=${ESP_AT}MiB, size=$((ROOT_AT - ESP_AT))MiB, type=uefi, name=esp
start=${ROOT_AT}MiB, size=${size}MiB, type=linux, name=root
END
  write root.img "$ROOT_AT"

  # GRUB's programs hold every module that they need. They read grub.cfg.
  cat >"$grub/early.cfg" <<'END'
search --no-floppy --label root --set=root
set prefix=($root)/boot/grub
normal
END
  # shellcheck disable=SC2086 # one argument per module
  grub-mkimage -O x86_64-efi -c "$grub/early.cfg" -p /boot/grub -o "$grub/boot.efi" $modules
  # shellcheck disable=SC2086
  grub-mkimage -O i386-pc -c "$grub/early.cfg" -p /boot/grub -o "$grub/core.img" biosdisk $modules

  truncate -s $(((ROOT_AT - ESP_AT) * MIB)) "$grub/esp.img"
  mformat -i "$grub/esp.img" ::
  mmd -i "$grub/esp.img" ::/EFI ::/EFI/BOOT
  mcopy -i "$grub/esp.img" "$grub/boot.efi" ::/EFI/BOOT/BOOTX64.EFI
  write grub/esp.img "$ESP_AT"

  # The BIOS loads boot.img from the first sector, which loads the first sector
  # of core.img, which loads the rest of it. At 0x5c in boot.img and at 0x1f4 in
  # core.img are the sectors where the next part is (include/grub/i386/pc/boot.h
  # of GRUB: KERNEL_SECTOR and FIRSTLIST). The partition table follows 440 bytes
  # of code.
  local at=$((BIOS_AT * MIB))
  head -c 440 /usr/lib/grub/i386-pc/boot.img | poke 0
  poke $at <"$grub/core.img"
  little_endian $((at / SECTOR)) | poke $((0x5c))
  little_endian $((at / SECTOR + 1)) | poke $((at + 0x1f4))
}

# write FILE MIB copies a file into disk.img, and leaves its holes out.
write() { dd if="$STAGE/$1" of="$STAGE/disk.img" bs=$MIB seek="$2" conv=notrunc,sparse status=none; }

# poke OFFSET copies standard input to a byte offset of disk.img.
poke() { dd of="$STAGE/disk.img" bs=$SECTOR seek="$1" oflag=seek_bytes conv=notrunc status=none; }

# little_endian NUMBER prints its eight bytes.
little_endian() {
  local shift
  for shift in 0 8 16 24 32 40 48 56; do
    printf '%b' "\\x$(printf %02x $(($1 >> shift & 255)))"
  done
}

(($# == 1)) || die "usage: make.sh NAME"
main "$1"
