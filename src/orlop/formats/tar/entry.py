"""The entry: one member of an archive, after all extensions have been read."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from orlop.errors import InvalidArgument

__all__ = ["Entry", "Kind", "TarError"]


class TarError(InvalidArgument):
    """The bytes are no well-formed archive."""


class Kind(Enum):
    """What an entry is."""

    FILE = "file"
    LINK = "hard link"
    SYMLINK = "symbolic link"
    CHAR = "character device"
    BLOCK = "block device"
    DIRECTORY = "directory"
    FIFO = "fifo"
    OTHER = "other"


@dataclass(slots=True)
class Entry:
    """A member. Names are text with undecodable bytes escaped as by `os.fsdecode`.

    `size` is that of the file with its holes, `stored` the bytes that follow the header (without padding). `sparse`
    lists the (offset, length) of the data of a sparse file, None if it is an ordinary one. `mtime` is in ns.
    """

    name: str
    kind: Kind = Kind.FILE
    size: int = 0
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    linkname: str = ""
    major: int = 0
    minor: int = 0
    uname: str = ""
    gname: str = ""
    xattrs: dict[str, bytes] = field(default_factory=dict)
    sparse: tuple[tuple[int, int], ...] | None = None
    stored: int = 0
    typeflag: bytes = b"0"
