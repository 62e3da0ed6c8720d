"""File descriptors: passing them over unix sockets, closing them in bulk."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable

from orlop.linux.syscall import call

__all__ = ["close_all", "close_all_but", "close_from", "recv", "send"]

MAX_PER_MESSAGE = 253  # SCM_MAX_FD
_INT = struct.Struct("i")
# As plain numbers: arithmetic with the standard library's enumerations costs more than the system call.
_CLOEXEC, _TRUNCATED, _NOSIGNAL = int(socket.MSG_CMSG_CLOEXEC), int(socket.MSG_CTRUNC), int(socket.MSG_NOSIGNAL)
_SOCKET, _RIGHTS = int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS)


def recv(sock: socket.socket, size: int, max_fds: int = MAX_PER_MESSAGE) -> tuple[bytes, list[int]]:
    """Receive at most `size` bytes and the descriptors that came with them, which are close-on-exec.

    The only recvmsg(2) with descriptors: `socket.recv_fds` drops MSG_CMSG_CLOEXEC. End of file is ``(b"", [])``.
    Raises `OSError` (EMSGSIZE when descriptors were lost because there were too many or the process's table is full).
    """
    data, ancillary, flags, _ = sock.recvmsg(size, socket.CMSG_SPACE(max_fds * _INT.size), _CLOEXEC)
    fds: list[int] = []
    for level, kind, payload in ancillary:
        if level == _SOCKET and kind == _RIGHTS:
            whole = len(payload) - len(payload) % _INT.size
            fds += [number for (number,) in _INT.iter_unpack(payload[:whole])]
    if flags & _TRUNCATED:
        close_all(fds)
        raise OSError(90, "descriptors were lost on the way")
    return data, fds


def send(sock: socket.socket, data: bytes | memoryview, fds: list[int] | tuple[int, ...] = ()) -> int:
    """Send `data` (at least a byte) with `fds` riding on its first byte; return how much was taken.

    At most 253 descriptors go with one call; a caller with more sends them a message at a time.
    """
    ancillary = []
    if fds:
        ancillary.append((_SOCKET, _RIGHTS, b"".join(_INT.pack(fd) for fd in fds)))
    return sock.sendmsg([data], ancillary, _NOSIGNAL)


def close_from(first: int) -> None:
    """Close every descriptor from `first` on: what the last step before an exec does (close_range(2))."""
    call("close_range", first, 0xFFFFFFFF, 0)


def close_all_but(kept: Iterable[int]) -> None:
    """Close every descriptor that is not in `kept`."""
    first = 0
    for fd in sorted(set(kept)):
        if fd > first:
            call("close_range", first, fd - 1, 0)
        first = fd + 1
    close_from(first)


def close_all(fds: list[int] | tuple[int, ...]) -> None:
    """Close each of `fds`."""
    for fd in fds:
        os.close(fd)
