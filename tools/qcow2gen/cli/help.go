package cli

const help = `Usage:
  qcow2gen COMMAND [--help | command options]

Create, convert, describe, check and compare images, as qemu-img does.

Commands (run qcow2gen COMMAND --help for their options):
  check - Check basic image integrity
  commit - Commit image to its backing file
  compare - Check if two images have the same contents
  convert - Copy an image to another format
  create - Create a new image
  info - Display information about an image
  layer - Create a private writable disk on top of an image
  map - Dump image metadata
  rebase - Change the backing file of an image

The other commands and options of qemu-img are errors.
`

const createHelp = `Usage:
  qcow2gen create [-f FMT] [-o FMT_OPTS]
        [-b BACKING_FILE [-B BACKING_FMT]] [-u]
        [-q] FILE [SIZE]

Create a new image without data. If this fails, FILE is not created or changed.

Arguments:
  -h, --help
     print this help and exit
  -f, --format FMT
     specifies the format of the new image: qcow2, which is the default
  -o, --options FMT_OPTS
     format-specific options (specify '-o help' for help)
  -b, --backing BACKING_FILE
     create target image to be a CoW on top of BACKING_FILE
  -B, --backing-format BACKING_FMT (was -F in <= 10.0, which is taken too)
     specifies the format of BACKING_FILE, required with -b
  -u, --backing-unsafe
     do not open BACKING_FILE; requires SIZE
  -q, --quiet
     quiet mode (produce only error messages if any)
  FILE
     name of the image file to create. An existing file is replaced and keeps
     its mode, owner, group and extended attributes. If that is impossible,
     or if it has several hard links, it is written in place
  SIZE[bKMGTPE]
     image size with optional multiplier suffix (powers of 1024)
     (required unless BACKING_FILE is specified)

Arguments that qemu-img does not have:
  --detect-backing-format
     take the format of BACKING_FILE from its first bytes, instead of -B;
     unsafe if a guest may have written to a raw file; fail if the file is
     plainly not a disk, such as an archive or a compressed file
  --backing-info JSON_FILE
     do not open BACKING_FILE; read its size, and without -B its format, from
     JSON_FILE, the output of info --output=json or --info-output
  --no-shrink
     fail if SIZE is smaller than BACKING_FILE; with -u this is checked only
     if --backing-info is given
  --standalone-backing
     fail if BACKING_FILE has a backing file or an external data file itself;
     open only BACKING_FILE
  --info-output JSON_FILE
     write size, format and cluster size of the new image to JSON_FILE; both
     files are created or none
`

const infoHelp = `Usage:
  qcow2gen info [-f FMT] [--backing-chain] [-U]
        [--output human|json] FILE

Display information about the image.

Arguments:
  -h, --help
     print this help and exit
  -f, --format FMT
     specify FILE image format explicitly: raw or qcow2
     (default: the format that its first bytes show)
  --backing-chain
     display information about the backing chain for copy-on-write overlays
  -U, --force-share
     open image in shared mode for concurrent access (always on)
  --output human|json
     specify output format (default: human)
  FILE
     name of the image file
`

const layerHelp = `Usage:
  qcow2gen layer [-F BACKING_FMT] [-q] BACKING_FILE FILE [SIZE]

Create FILE, a private writable disk that reads as BACKING_FILE. Writes go to
FILE; BACKING_FILE stays unchanged. qemu-img does not have this command.

The disk has clusters of 128 KiB with 32 subclusters each (extended L2 entries,
QEMU 5.2 or newer), in which small writes are fast and take little room. It
records the absolute path and the format of BACKING_FILE.

Arguments:
  -h, --help
     print this help and exit
  -F, --backing-format BACKING_FMT
     specifies the format of BACKING_FILE (default: the format that its first
     bytes show, which is unsafe if a guest may have written to a raw file);
     a format other than raw and qcow2 requires -F and SIZE
  -q, --quiet
     quiet mode (produce only error messages if any)
  BACKING_FILE
     name of the image below; a relative name is relative to the working
     directory
  FILE
     name of the image file to create, which must not exist
  SIZE[bKMGTPE]
     image size with optional multiplier suffix (powers of 1024), at least the
     size of BACKING_FILE (default: the size of BACKING_FILE)
`

const convertHelp = `Usage:
  qcow2gen convert [-f SRC_FMT] [-l SNAPSHOT] [-O TGT_FMT] [-o TGT_FMT_OPTS]
        [-b BACKING_FILE -F BACKING_FMT] [-S SPARSE_SIZE] [-c] [-n]
        [-m NUM_PARALLEL] [-p] [-q] [-U] SRC_FILE TGT_FILE

Copy an image to another one, in the same or another format. If this fails,
TGT_FILE is not created or changed, except with -n, on a block device, and if
the copy to a file that is written in place fails.

Arguments:
  -h, --help
     print this help and exit
  -f, --source-format SRC_FMT
     specify format of SRC_FILE explicitly: raw or qcow2
     (default: the format that its first bytes show)
  -T, --source-cache SRC_CACHE
     source image cache mode (accepted, without effect)
  -l, --snapshot SNAPSHOT
     specify source snapshot: its ID, its name, snapshot.id=ID or
     snapshot.name=NAME
  -O, --target-format TGT_FMT
     specify TGT_FILE image format: raw, which is the default, or qcow2
  -o, --target-format-options TGT_FMT_OPTS
     TGT_FMT-specific options (specify '-o help' for help); a size that is
     larger than the source adds zeros
  -t, --target-cache TGT_CACHE
     cache mode of the output image (default: unsafe); all others write the
     image to the disk before convert ends
  -b, --backing BACKING_FILE (was -B in <= 10.0)
     create target image to be a CoW on top of BACKING_FILE: only clusters that
     differ from it are stored
  -F, --backing-format BACKING_FMT
     specify BACKING_FILE image format, required with -b
  -S, --sparse-size SPARSE_SIZE[bkKMGTPE]
     0 stores zeros like other data; other sizes are accepted, without effect
  -n, --no-create
     write to TGT_FILE, which exists
  --target-is-zero
     indicates that the target, which exists, is zero
  -c, --compress
     create compressed output image (qcow2 only)
  -U, --force-share
     also read images that QEMU has open for writing, or that change
  -m, --parallel NUM_PARALLEL
     clusters that are compressed at a time, from 1 to 16 (default: twice the
     number of processors); the image does not depend on it
  -C, --copy-range-offloading, -W, --oob-writes
     accepted, without effect
  -p, --progress
     display progress information
  -q, --quiet
     quiet mode (produce only error messages if any)
  SRC_FILE
     name of the source image file; with -f raw, - is the standard input, which
     qemu-img cannot read
  TGT_FILE
     name of the target image file; an existing file is replaced as by create

Arguments that qemu-img does not have:
  --standalone-source
     fail if SRC_FILE has a backing file or an external data file, or, without
     -f, if it is plainly not a disk
  --backing-path FILE
     open BACKING_FILE as FILE; the target records BACKING_FILE
  --detect-backing-format, --backing-info JSON_FILE, --standalone-backing,
  --info-output JSON_FILE
     as for create
`
