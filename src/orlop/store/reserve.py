"""The reserve: some space on the disk that is kept for the writes that make room on it.

Forgetting something takes a few pages of the write-ahead log. On a full disk there are none, and nothing could be
removed any more. So a file is held beside the database and given up for such a write, and made again when there is
room. Used by the store's writing thread alone.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

__all__ = ["Reserve"]

log = logging.getLogger(__name__)

SIZE = 256 << 10  # bytes; a deletion takes some ten pages of 4 KiB


class Reserve:
    """The file at `path`, which has its space or is not there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = False

    def renew(self) -> None:
        """Take the space, if that is not done and there is enough."""
        if self._held:
            return
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, SIZE)
            finally:
                os.close(fd)
            self._held = True
        except OSError as error:
            log.debug("no reserve beside the metadata: %s", error)
            with suppress(FileNotFoundError):
                self._path.unlink()

    def release(self) -> bool:
        """Give the space up; False if there is none to give."""
        held, self._held = self._held, False
        with suppress(FileNotFoundError):
            self._path.unlink()
        return held
