"""How much a directory holds."""

from __future__ import annotations

import os

__all__ = ["directory_size"]


def directory_size(path: str) -> int:
    """Return the bytes of all files below `path`, each inode once; links are not followed.

    What vanishes while it is read counts nothing.
    """
    total = 0
    seen: set[tuple[int, int]] = set()
    waiting = [path]
    while waiting:
        try:
            entries = os.scandir(waiting.pop())
        except (FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                if status.st_nlink > 1:
                    identity = (status.st_dev, status.st_ino)
                    if identity in seen:
                        continue
                    seen.add(identity)
                total += status.st_size
    return total
