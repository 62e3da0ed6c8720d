"""Closed-loop load on an HTTP server: a few kept-alive connections, each with one request under way.

As a program (``python -m bench.hammer HOST PORT``) it prints requests a second: so it can be run in the network
namespace of a server.
"""

from __future__ import annotations

import re
import select
import socket
import sys
import time
from collections.abc import Callable

__all__ = ["hammer"]

_LENGTH = re.compile(rb"content-length: *(\d+)")


class _Client:
    def __init__(self, connected: socket.socket, request: bytes) -> None:
        self.socket = connected
        self.request = request
        self.ask()

    def ask(self) -> None:
        self.data = bytearray()
        self.expected: int | None = None
        self.socket.sendall(self.request)

    def answered(self) -> bool:
        """Take what has arrived; tell whether the answer is complete."""
        part = self.socket.recv(1 << 16)
        if not part:
            raise ConnectionError("the server closed a kept-alive connection")
        self.data += part
        if self.expected is None:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return False
            head = bytes(self.data[:end]).lower()
            if b" 200 " not in head.partition(b"\r\n")[0]:
                raise ConnectionError(f"unexpected answer: {head[:100]!r}")
            length = _LENGTH.search(head)
            self.expected = end + 4 + int(length[1]) if length else -1
        return len(self.data) == self.expected or (self.expected < 0 and self.data.endswith(b"0\r\n\r\n"))


def hammer(connect: Callable[[], socket.socket], path: str, connections: int = 8, seconds: float = 2.0) -> float:
    """Return how many requests a second the server answers."""
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    poll = select.epoll()
    clients = {}
    for _ in range(connections):
        client = _Client(connect(), request)
        clients[client.socket.fileno()] = client
        poll.register(client.socket, select.EPOLLIN)
    begin, answers = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        for fd, _ in poll.poll(1):
            if clients[fd].answered():
                answers += 1
                clients[fd].ask()
    rate = answers / (time.perf_counter() - begin)
    for client in clients.values():
        client.socket.close()
    poll.close()
    return rate


if __name__ == "__main__":
    address = (sys.argv[1], int(sys.argv[2]))
    print(hammer(lambda: socket.create_connection(address, 10), "/"))
