"""What trees take: the bytes of files as Docker counts them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["tree_size"]


def tree_size(root: Path) -> int:
    """Return the bytes of all that is beneath `root` but directories; a file with several names counts once.

    The tree may change meanwhile: what vanishes is not counted, nor what lies deeper than a path
    can be long. Symbolic links count the length of their target.
    """
    total = 0
    seen: set[tuple[int, int]] = set()
    pending: list[str | Path] = [root]
    while pending:
        try:
            entries = os.scandir(pending.pop())
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                raise
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if status.st_nlink > 1:
                    key = (status.st_dev, status.st_ino)
                    if key in seen:
                        continue
                    seen.add(key)
                total += status.st_size
    return total
