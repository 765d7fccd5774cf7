"""Sizes in attributes: those of qemu-img, and the suffixes KiB, MiB, GiB, TiB, PiB and EiB.

tests/generator compares parse_size with qemu-img.
"""

# Binary logarithms of the units.
_SUFFIXES = {
    "": 0,
    "B": 0,
    "K": 10,
    "M": 20,
    "G": 30,
    "T": 40,
    "P": 50,
    "E": 60,
}

# QEMU keeps a size in a signed 64-bit number of bytes.
_MAX = (1 << 63) - 1

def parse_size(size):
    """Converts a size to bytes.

    Args:
      size: a string: a number and the suffix `K`, `M`, `G`, `T`, `P` or `E`, in
        either case, for a power of 1024. The number may have a fraction.
        Without a suffix, or with `B`, it is a whole number of bytes. qemu-img
        accepts the same sizes. `iB` after the suffix is an extension.

    Returns:
      A pair of the number of bytes and None, or None and a clause for an error
      message that says what is wrong.
    """
    syntax = "use a number and a suffix, as in \"20G\", \"20GiB\", \"3.5G\" or \"21474836480\""
    text = size.upper()
    number = text.rstrip("BIKMGTPE")
    suffix = text[len(number):]
    if len(suffix) == 3 and suffix.endswith("IB"):
        suffix = suffix[0]
    whole, _, fraction = number.partition(".")
    digits = whole + fraction
    if suffix not in _SUFFIXES or not digits.isdigit():
        return None, syntax
    if _SUFFIXES[suffix] == 0 and fraction.strip("0"):
        return None, "a fraction of a byte is not possible; add a suffix, as in \"%sG\"" % number

    # Like qemu-img, round to the nearest byte.
    scale = _pow10(len(fraction))
    numerator = int(digits, 10) << _SUFFIXES[suffix]
    size_bytes = (2 * numerator + scale) // (2 * scale)
    if size_bytes > _MAX:
        return None, "QEMU supports at most %d bytes" % _MAX
    return size_bytes, None

def _pow10(exponent):
    result = 1
    for _ in range(exponent):
        result *= 10
    return result
