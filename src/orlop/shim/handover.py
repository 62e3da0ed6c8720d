"""What a starter gives to the resident shim: how the container's streams are, and then that it runs.

Two `shim_wire` messages on a stream socket, ``streams`` (before the program runs) and ``running``, with ``terminal``
between them if there is one; the end of file without ``running`` means that nothing runs. Descriptors have names,
which travel in the message in their order.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from orlop.formats.shim_wire import Message, encode
from orlop.linux import descriptors

__all__ = ["ACTIVE", "DORMANT", "FirstWord", "named", "send", "send_watched"]

FirstWord = bytes
ACTIVE: FirstWord = b"a"  # there are clients: be ready for output before the program runs
DORMANT: FirstWord = b"d"  # nothing to do until something happens


def send(sock: socket.socket, kind: str, fds: Iterable[tuple[str, int]], **fields: Any) -> None:
    """Send a message with named descriptors. Raises `OSError`."""
    pairs = list(fds)
    numbers = [fd for _, fd in pairs]
    data = memoryview(encode({"type": kind, "names": [name for name, _ in pairs], **fields}, len(numbers)))
    step = descriptors.MAX_PER_MESSAGE
    for start in range(0, len(numbers), step):
        # Each lot rides on one byte; the rest of the message goes with the last.
        last = start + step >= len(numbers)
        sent = descriptors.send(sock, data if last else data[:1], numbers[start : start + step])
        data = data[sent:]
    sock.sendall(data)


def send_watched(sock: socket.socket, fds: list[int]) -> None:
    """Send duplicates of the descriptors that a dormant shim is to wait for: the last word before the end."""
    descriptors.send(sock, b"\0", fds)


def named(message: Message, fds: list[int]) -> list[tuple[str, int]]:
    """Return the descriptors of a message with their names."""
    return list(zip(message["names"], fds, strict=True))
