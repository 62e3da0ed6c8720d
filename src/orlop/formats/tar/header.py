"""The 512-byte header block of ustar, GNU and old archives (tar(5)): bytes to fields and back."""

from __future__ import annotations

from orlop.formats.tar.entry import TarError

__all__ = ["BLOCK", "Header", "decode", "encode_number", "number", "padded"]

BLOCK = 512
_ZERO = bytes(BLOCK)
_LIMIT = 1 << 63  # no size, id or time in an archive reaches this


class Header:
    """The fields of a header block as they stand in it. Numbers are parsed on demand by `number`."""

    __slots__ = ("block", "gid", "linkname", "mode", "mtime", "name", "size", "typeflag", "uid")

    def __init__(self, block: bytes) -> None:
        self.block = block
        self.typeflag = block[156:157]
        self.name = _name(block)
        self.mode = number(block[100:108])
        self.uid = number(block[108:116])
        self.gid = number(block[116:124])
        self.size = number(block[124:136])
        self.mtime = number(block[136:148])
        self.linkname = text(block[157:257])

    @property
    def gnu(self) -> bool:
        """Whether it is a GNU header, which has other fields in place of the prefix."""
        return self.block[257:265] == b"ustar  \0"

    @property
    def ustar(self) -> bool:
        return self.block[257:263] == b"ustar\0"

    @property
    def device(self) -> tuple[int, int]:
        """Major and minor number; old archives have none."""
        if self.block[257:262] != b"ustar":
            return 0, 0
        return number(self.block[329:337]), number(self.block[337:345])

    @property
    def owners(self) -> tuple[str, str]:
        """Names of user and group."""
        if self.block[257:262] != b"ustar":
            return "", ""
        return text(self.block[265:297]), text(self.block[297:329])


def decode(block: bytes) -> Header | None:
    """Read a header block; None is the end-of-archive mark. Raises `TarError` on a wrong checksum."""
    if block == _ZERO:
        return None
    stored = number(block[148:156])
    rest = block[:148] + b"        " + block[156:]
    if stored != sum(rest) and stored != sum(byte - 256 if byte > 127 else byte for byte in rest):
        raise TarError("archive/tar: invalid tar header")
    return Header(block)


def text(field: bytes) -> str:
    """Return a field up to its first NUL."""
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def number(field: bytes) -> int:
    """Return a number in octal digits or, GNU's extension, in base 256. Raises `TarError`."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False)
        bits = len(field) * 8
        value = value - (1 << bits) if field[0] & 0x40 else value & ~(1 << (bits - 1))
        if not -_LIMIT < value < _LIMIT:
            raise TarError("archive/tar: number out of range")
        return value
    digits = field.partition(b"\0")[0].strip(b" ")
    if not digits:
        return 0
    if not digits.isdigit():
        raise TarError("archive/tar: invalid tar header")
    try:
        return int(digits, 8)
    except ValueError:
        raise TarError("archive/tar: invalid tar header") from None


def encode_number(value: int, width: int) -> bytes:
    """Return `value` as a field of `width` bytes: octal where it fits, else base 256."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    if not -(256 ** (width - 1)) // 2 <= value < 256 ** (width - 1) // 2:
        raise TarError("archive/tar: number out of range")
    return (0xFF if value < 0 else 0x80).to_bytes(1, "big") + value.to_bytes(width - 1, "big", signed=True)


def padded(size: int) -> int:
    """Return `size` rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def _name(block: bytes) -> str:
    name = text(block[0:100])
    if block[257:263] == b"ustar\0" and block[345]:
        # star's variant of the format has times in the last bytes of the prefix
        prefix = text(block[345:476] if block[508:512] == b"tar\0" else block[345:500])
        return f"{prefix}/{name}"
    return name
