"""Whether two files hold the same bytes."""

from __future__ import annotations

import os
import stat

from orlop.image.walk import open_beneath

__all__ = ["same_content"]

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BLOCK = 256 << 10


def same_content(first: int, second: int, name: str) -> bool:
    """Compare the regular files `name` of two open directories, bytes alone. Raises `OSError`."""
    here = open_beneath(first, name, _FILE)
    try:
        there = open_beneath(second, name, _FILE)
        try:
            return _same(here, there)
        finally:
            os.close(there)
    finally:
        os.close(here)


def _same(here: int, there: int) -> bool:
    statuses = os.fstat(here), os.fstat(there)
    if statuses[0].st_size != statuses[1].st_size or not all(stat.S_ISREG(each.st_mode) for each in statuses):
        return False
    while block := os.read(here, _BLOCK):
        if os.read(there, len(block)) != block:
            return False
    return not os.read(there, 1)
