"""What an archive may say of a file, made safe: its name, its owner, its extended attributes.

No attribute of overlayfs is ever taken from an archive, nor one that belongs to the host's security modules.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from orlop.formats.tar.entry import Entry, TarError

__all__ = ["IMPLIED_ROOT", "MAX_NAME", "OPAQUE_XATTR", "DirectoryAttributes", "normalized", "owner", "set_xattr"]

OPAQUE_XATTR = "trusted.overlay.opaque"
IMPLIED_ROOT = "trusted.orlop.implied"
"""Marks the root of a layer that had no entry for it: the attributes of the root are those of a layer below."""

MAX_NAME = 4096
"""Bytes that a path, or the target of a link, stays below (PATH_MAX)."""


@dataclass(slots=True)
class DirectoryAttributes:
    """What is set on a directory when all that is in it is there."""

    mode: int
    uid: int
    gid: int
    mtime: int
    xattrs: dict[str, bytes]
    implied: bool = False

    def apply(self, fd: int) -> None:
        """Set them on the open directory `fd`. Raises `OSError`."""
        os.fchown(fd, self.uid, self.gid)
        os.fchmod(fd, self.mode)
        for key, value in self.xattrs.items():
            set_xattr(fd, key, value)
        os.utime(fd, ns=(self.mtime, self.mtime))


def normalized(name: str) -> str:
    """Return a name without ``.``, ``..`` and slashes at its ends. Raises `TarError` if it leads out of the root."""
    if name.isascii() and "//" not in name and "/." not in name and not name.startswith((".", "/")):
        plain = name.rstrip("/")  # the ordinary case
        if plain and len(plain) < MAX_NAME:
            return plain
    parts: list[str] = []
    for part in name.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        elif not name.startswith("/"):
            raise TarError(f"{name!r} is outside of the layer")
    path = "/".join(parts)
    if len(os.fsencode(path)) >= MAX_NAME:
        raise TarError(f"the name {name[:200]!r}… is too long")
    return path


def owner(entry: Entry) -> tuple[int, int]:
    """Return user and group. Raises `TarError` for what the system does not have."""
    if not (0 <= entry.uid < 0xFFFFFFFF and 0 <= entry.gid < 0xFFFFFFFF):
        raise TarError(f"invalid owner of {entry.name!r}")
    return entry.uid, entry.gid


def set_xattr(fd: int, key: str, value: bytes) -> None:
    """Set what an image may say; overlayfs's own, and what belongs to the host's security, are not its business."""
    if key != "security.capability" and not key.startswith(("user.", "system.posix_acl_")):
        return
    if key.startswith("user.overlay."):
        return
    try:
        os.setxattr(fd, key, value)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
