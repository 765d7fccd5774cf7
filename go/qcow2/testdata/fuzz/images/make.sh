#!/bin/sh
# Makes the images of this folder with the qemu-img and qemu-io on PATH.
set -eu
cd "$(dirname "$0")"
rm -f ./*.qcow2 data

create() { # NAME OPTIONS SIZE
  qemu-img create -q -f qcow2 -o "$2" "$1.qcow2" "$3"
}
io() { # NAME COMMAND...
  name=$1
  shift
  for command; do set -- "$@" -c "$command"; shift; done
  qemu-io -f qcow2 "$@" "$name.qcow2" >/dev/null
}

create v2 compat=0.10,cluster_size=512 100k
io v2 'write -P 1 0 512' 'write -P 2 50k 1k'
qemu-img rebase -u -f qcow2 -b base -F raw v2.qcow2
create v3 cluster_size=512,lazy_refcounts=on 60k
io v3 'write -P 1 1000 1000' 'write -z 10k 1k' 'discard 1k 512' 'write -z -u 20k 4k'
create widths cluster_size=512,refcount_bits=1 20k
io widths 'write -P 1 0 1k' 'write -c -P 9 4k 512'
create zlib cluster_size=1k 40k
io zlib 'write -c -P 5 0 4k' 'write -c -s make.sh 8k 1k'
create zstd cluster_size=1k,compression_type=zstd 40k
io zstd 'write -c -P 5 0 4k' 'write -c -s make.sh 8k 1k'
create subclusters cluster_size=16k,extended_l2=on 100k
io subclusters 'write -P 1 512 1k' 'write -z 20k 1k' 'write -c -P 3 32k 16k'
create snapshots cluster_size=512 30k
io snapshots 'write -P 1 0 2k'
qemu-img snapshot -c first snapshots.qcow2
io snapshots 'write -P 2 1k 2k'
qemu-img snapshot -c second snapshots.qcow2
create bitmaps cluster_size=512 64k
qemu-img bitmap --add -g 512 bitmaps.qcow2 one
qemu-img bitmap --add -g 64k bitmaps.qcow2 two
io bitmaps 'write -P 1 0 2k'
create external cluster_size=512,data_file=data,data_file_raw=on 20k
io external 'write -P 1 0 2k'
rm data

# Zeros at the end are read as such anyway.
for image in ./*.qcow2; do
  length=$(od -An -v -tx1 -w512 "$image" | awk '/[1-9a-f]/ { n = NR } END { print n * 512 }')
  truncate -s "$length" "$image"
done
