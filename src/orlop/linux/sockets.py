"""Sockets beyond what the socket module does: raw frames, and duplicates of another process's sockets."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from orlop.linux.syscall import call

__all__ = ["internet_sockets", "send_frames"]


def send_frames(interface: str, frames: Iterable[bytes]) -> None:
    """Send Ethernet frames out of an interface (packet(7)). Raises OSError."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as sock:
        sock.bind((interface, 0))
        for frame in frames:
            sock.send(frame)


def internet_sockets(pid: int) -> list[socket.socket]:
    """Return duplicates of all IPv4 and IPv6 sockets that a process holds (pidfd_getfd(2)).

    Raises `ProcessLookupError` when it has ended, PermissionError without the right to trace it.
    """
    found: list[socket.socket] = []
    process = os.pidfd_open(pid)
    try:
        with contextlib.ExitStack() as undo:
            for number in _socket_numbers(pid):
                try:
                    sock = socket.socket(fileno=call("pidfd_getfd", process, number, 0))
                except OSError as error:
                    if isinstance(error, PermissionError | ProcessLookupError):
                        raise
                    continue  # closed meanwhile
                if sock.family in (socket.AF_INET, socket.AF_INET6):
                    undo.callback(sock.close)
                    found.append(sock)
                else:
                    sock.close()
            undo.pop_all()
    finally:
        os.close(process)
    return found


def _socket_numbers(pid: int) -> list[int]:
    numbers = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if str(entry.readlink()).startswith("socket:"):
                numbers.append(int(entry.name))
    return sorted(numbers)
