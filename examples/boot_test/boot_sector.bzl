"""A guest of one sector."""

_ORIGIN = 0x7c00  # where a BIOS loads a boot sector

# 16-bit x86 machine code that writes a text to the display and to the first
# serial port, and then halts.
_CODE = [
    [0x31, 0xc0],  # xor ax, ax
    [0x8e, 0xd8],  # mov ds, ax
    [0xb8, 0x03, 0x00],  # mov ax, 3: an empty screen of text
    [0xcd, 0x10],  # int 10h
    [0xbe, "text"],  # mov si, text
    [0xac],  # next: lodsb
    [0x84, 0xc0],  # test al, al
    [0x74, 0x0f],  # jz done
    [0x50],  # push ax
    [0xb4, 0x0e],  # mov ah, 0eh: write a character
    [0xbb, 0x07, 0x00],  # mov bx, 7
    [0xcd, 0x10],  # int 10h
    [0x58],  # pop ax
    [0xba, 0xf8, 0x03],  # mov dx, 3f8h: COM1
    [0xee],  # out dx, al
    [0xeb, 0xec],  # jmp next
    [0xf4],  # done: hlt
    [0xeb, 0xfd],  # jmp done
]

def boot_sector(name, says, **kwargs):
    """A raw disk of one sector that a PC BIOS boots.

    Args:
      name: name of the target; the file is `<name>.img`.
      says: the text that it writes: at most 400 letters, digits and spaces.
      **kwargs: attributes that all rules have.
    """
    code = [byte for instruction in _CODE for byte in instruction]

    # The address of the text takes two bytes, but is one item of the code.
    text = _ORIGIN + len(code) + 1
    bytes = []
    for byte in code:
        bytes += [text % 256, text // 256] if byte == "text" else [byte]
    padding = 510 - len(bytes) - len(says + "\r\n")
    parts = [_octal(bytes), says, _octal([0x0d, 0x0a]), _octal([0] * padding), _octal([0x55, 0xaa])]
    native.genrule(
        name = name,
        outs = [name + ".img"],
        cmd = "printf '%s' >$@" % "".join(parts),
        **kwargs
    )

def _octal(bytes):
    return "".join(["\\%s%s%s" % (byte // 64, byte // 8 % 8, byte % 8) for byte in bytes])
