"""Being told of changes in a directory: inotify(7)."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

__all__ = ["CREATE", "DELETE_SELF", "MODIFY", "MOVED_TO", "ONESHOT", "Event", "Inotify"]

MODIFY = 0x2
MOVED_TO = 0x80
CREATE = 0x100
DELETE_SELF = 0x400
IGNORED = 0x8000  # the watch is gone
ONESHOT = 0x8000_0000  # one event, then the watch is gone
_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_EVENT = struct.Struct("iIII")
_BUFFER = 64 << 10

_libc = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """What happened: `watch` is the number that `Inotify.add` gave, `name` that of a directory's entry."""

    watch: int
    mask: int
    name: bytes


class Inotify:
    """An inotify instance; `fileno` becomes readable when there are events."""

    def __init__(self) -> None:
        self._fd = _checked(_libc.inotify_init1(_NONBLOCK | _CLOEXEC))

    def fileno(self) -> int:
        return self._fd

    def add(self, path: str, mask: int) -> int:
        """Watch `path`; return the number of the watch (the same again for the same inode). Raises `OSError`."""
        return _checked(_libc.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(mask)), path)

    def remove(self, watch: int) -> None:
        """Watch no more. Raises `OSError` (EINVAL) for a watch that is gone."""
        _checked(_libc.inotify_rm_watch(self._fd, watch))

    def read(self) -> list[Event]:
        """Return the events that wait, none if there are none."""
        try:
            data = os.read(self._fd, _BUFFER)
        except BlockingIOError:
            return []
        events, offset = [], 0
        while offset < len(data):
            watch, mask, _cookie, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            events.append(Event(watch, mask, data[offset : offset + length].rstrip(b"\0")))
            offset += length
        return events

    def close(self) -> None:
        """End all watches."""
        os.close(self._fd)


def _checked(result: int, path: str | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result
