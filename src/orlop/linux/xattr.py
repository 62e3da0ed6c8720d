"""Extended attributes of a descriptor, also of one that was opened O_PATH, and never of what a link points to."""

from __future__ import annotations

import os

__all__ = ["get", "remove", "set_"]


def get(fd: int, name: str) -> bytes:
    """Return a value. Raises `OSError` (ENODATA if there is none)."""
    return os.getxattr(_path(fd), name)


def set_(fd: int, name: str, value: bytes) -> None:
    """Set a value. Raises `OSError`."""
    os.setxattr(_path(fd), name, value)


def remove(fd: int, name: str) -> None:
    """Remove a value. Raises `OSError` (ENODATA if there is none)."""
    os.removexattr(_path(fd), name)


def _path(fd: int) -> str:
    # fgetxattr(2) refuses O_PATH; the magic link leads to the file itself, without resolving any name.
    return f"/proc/self/fd/{fd}"
