"""The file tree of a container as an archive (`docker export`): image and changes merged, without what is mounted."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from orlop.formats.tar.output import TarOutput, Write
from orlop.image import placeholders
from orlop.image.pack import Packer
from orlop.image.view import whole
from orlop.image.walk import GONE, open_beneath, walk
from orlop.model.record import Rootfs

__all__ = ["write_tree"]


def write_tree(rootfs: Rootfs, created_at: int, write: Write, check: Callable[[], None], pid: int = 0) -> None:
    """Give the archive to `write`, piece by piece; what a mount hides is in it, what is mounted is not.

    `pid` is the first process of a container that runs. Placeholders that the tree lacks come last, as of `created_at`
    (ns). `check` raises when the files are being removed; it is called before the archive is completed. Raises
    `OSError`.
    """
    output = TarOutput(write)
    packer = Packer(output)
    with whole(rootfs, pid) as root:
        for found in walk(root):
            packer.add(found.path, found.directory, found.name, found.status)
        for entry in placeholders.entries(created_at // 10**9 * 10**9):
            if not _occupied(root, entry.name):
                output.add(entry)
    check()
    output.finish()


def _occupied(root: int, path: str) -> bool:
    """Tell whether the tree has something at `path`, or something in the way there."""
    try:
        os.close(open_beneath(root, path, os.O_PATH | os.O_NOFOLLOW))
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (*GONE, errno.EXDEV):
            raise
    return True
