"""What the shim and a process that it starts say to each other until the exec: JSON over a socket of records.

From the child: ``netns`` (with the namespace), ``terminal`` (with the master), ``process`` (an exec's, with its pid),
``failed``, ``executing``; then end of file, which means that the exec has happened. From the shim: ``network``, ``go``
(the cgroup is there). Both sides take end of file for the other's death, as nothing else holds their ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
from collections.abc import Sequence
from typing import Any

from orlop.linux import descriptors

__all__ = ["ChildSide", "ShimGone", "pair", "receive", "send"]

_SIZE = 256 << 10


class ShimGone(Exception):
    """The shim has ended: there is nobody to start a process for."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends: the shim's, the child's."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, kind: str, fds: tuple[int, ...] = (), **fields: Any) -> None:
    """Send a message. Raises `OSError` when the other side is gone."""
    descriptors.send(sock, json.dumps({"type": kind, **fields}).encode(), fds)


def receive(sock: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Receive a message and its descriptors; None at the end. Raises `BlockingIOError` when nothing is there."""
    try:
        data, fds = descriptors.recv(sock, _SIZE, 4)
    except ConnectionResetError:
        # It ended without reading what we sent; that is told once, before what it said itself.
        data, fds = descriptors.recv(sock, _SIZE, 4)
    return (json.loads(data) if data else None), fds


class ChildSide:
    """The child's view: waits for one message at a time, whatever the order in which they come."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._early: dict[str, dict[str, Any]] = {}

    def send(self, kind: str, fds: tuple[int, ...] = (), **fields: Any) -> None:
        """Tell the shim. Raises `ShimGone`."""
        try:
            send(self.sock, kind, fds, **fields)
        except OSError as error:
            raise ShimGone from error

    def wait(self, kind: str) -> dict[str, Any]:
        """Wait for a message of this type. Raises `ShimGone`."""
        while kind not in self._early:
            message, _ = receive(self.sock)
            if message is None:
                raise ShimGone
            self._early[message["type"]] = message
        return self._early.pop(kind)

    def keep_only(self, number: int, others: Sequence[int] = ()) -> list[int]:
        """Move the socket to descriptor `number`, close-on-exec, and close all above it but `others`, which move too.

        Returns the numbers that those have now.
        """
        kept = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, number + 1) for fd in others]
        sock = fcntl.fcntl(self.sock.fileno(), fcntl.F_DUPFD_CLOEXEC, number + 1)
        os.dup2(sock, number, inheritable=False)
        descriptors.close_all_but((*range(number + 1), *kept))
        self.sock.detach()
        self.sock = socket.socket(fileno=number)
        return kept

    def write(self, kind: str, **fields: Any) -> None:
        """Tell the shim by write(2), which every seccomp profile lets through. Raises `ShimGone`."""
        try:
            os.write(self.sock.fileno(), json.dumps({"type": kind, **fields}).encode())
        except OSError as error:
            raise ShimGone from error

    def check_shim(self) -> None:
        """See that the shim is alive: from now on its death is ours, but one before now went unnoticed."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        if poll.poll(0):
            raise ShimGone
