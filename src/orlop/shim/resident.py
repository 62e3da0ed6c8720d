"""The resident part of a shim: the parent of a container's processes, and nothing else until something happens.

A start touches much memory: parsing, mounts, cgroups. So the resident shim leaves it to a *starter*, a child that ends
when the program runs; the container's first process is forked by the starter, but as the resident's child. An idle
container costs what a forked interpreter costs that has done nothing. At the first event (output, a message, an end)
the resident wakes up and is a `Container` from then on. With clients attached it is that from the beginning, beside
the start, so that the first output finds it ready.

There is always a spare pair, forked ahead by the launcher: a start does not wait for forks.
"""

from __future__ import annotations

import os
import select
import socket
from typing import NoReturn

from orlop.linux import descriptors
from orlop.shim import handover, starter
from orlop.shim.container import Container

__all__ = ["run"]

_READ_SIZE = 64 << 10


def run(requests: socket.socket, ours: socket.socket, theirs: socket.socket, others: list[int]) -> NoReturn:
    """Be the shim, in a process that the launcher has just forked, of the start that comes on `requests`.

    The pair `ours` and `theirs` is for talking to the starter; `others` are the launcher's own descriptors. Little is
    done here, and by plain calls: whatever is touched between here and sleep is copied for every idle container.
    """
    try:
        for fd in others:
            os.close(fd)
        os.setsid()
        os.dup2(0, 2)
        if os.fork() == 0:
            starter.run(requests, theirs)
        os.close(theirs.fileno())
        os.close(requests.fileno())
        _reside(ours)
    finally:
        os._exit(0)


def _reside(sock: socket.socket) -> None:
    """Wait for the starter's word, then for events; be the container when they come."""
    first = sock.recv(1)
    if first == handover.ACTIVE:
        Container(sock).run()
    if first != handover.DORMANT:
        return
    received: list[tuple[bytes, list[int]]] = []
    while True:
        data, fds = descriptors.recv(sock, _READ_SIZE)
        if not data:
            break
        received.append((data, fds))
    if not received or received[-1][0][-1:] != b"\0":
        return  # the start has failed, and the starter has told
    sock.close()
    _sleep(received[-1][1])
    received[-1] = received[-1][0][:-1], []
    Container(None, received).run()


def _sleep(watched: list[int]) -> None:
    """Wait until one of the descriptors is ready, and close them: they are duplicates."""
    poll = select.poll()
    for fd in watched:
        poll.register(fd, select.POLLIN)
    poll.poll()
    descriptors.close_all(watched)
