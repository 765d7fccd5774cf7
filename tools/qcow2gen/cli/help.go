package cli

const help = `Usage:
  qcow2gen COMMAND [--help | command options]

Make qcow2 images without data, as qemu-img does, describe, check and compare
images.

Commands (run qcow2gen COMMAND --help for their options):
  check - Check basic image integrity
  compare - Check if two images have the same contents
  create - Create a new image
  info - Display information about an image
  map - Dump image metadata

What qemu-img has beyond this is refused by name.
`

const createHelp = `Usage:
  qcow2gen create [-f FMT] [-o FMT_OPTS]
        [-b BACKING_FILE [-B BACKING_FMT]] [-u]
        [-q] FILE [SIZE]

Create a new image without data. FILE appears when it is whole, or not at all.

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
     specifies the format of BACKING_FILE, which is needed with it
  -u, --backing-unsafe
     do not open BACKING_FILE; SIZE is needed
  -q, --quiet
     quiet mode (produce only error messages if any)
  FILE
     name of the image file to create (is replaced if it exists)
  SIZE[bKMGTPE]
     image size with optional multiplier suffix (powers of 1024)
     (required unless BACKING_FILE is specified)

Arguments that qemu-img does not have:
  --detect-backing-format
     the format of BACKING_FILE is what its first bytes say, instead of -B;
     not for a file that a guest could write to
  --backing-info JSON_FILE
     do not open BACKING_FILE; its size, and its format where -B is not given,
     are in JSON_FILE, as info --output=json or --info-output writes it
  --no-shrink
     a SIZE smaller than that of BACKING_FILE is an error, where it is known:
     with -u, only by --backing-info
  --standalone-backing
     a BACKING_FILE that names a file itself, as its backing file or for its
     data, is an error, and no other file than BACKING_FILE is opened
  --info-output JSON_FILE
     write size, format and cluster size of the new image to JSON_FILE, which
     appears together with FILE
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
     (default: what its first bytes say)
  --backing-chain
     display information about the backing chain for copy-on-write overlays
  -U, --force-share
     open image in shared mode for concurrent access, as is done in any case
  --output human|json
     specify output format (default: human)
  FILE
     name of the image file
`
