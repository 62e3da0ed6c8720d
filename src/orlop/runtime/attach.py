"""Clients that attached to a container which does not run yet: their sockets wait here, unread, for its start.

`docker run` attaches first and starts then. A parked socket is watched for one thing only, that both of its directions
are closed (EPOLLHUP): a client that has sent all of its input may close that half long before the start.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from dataclasses import dataclass

from orlop.runtime.runtime import Attach

__all__ = ["Parking"]


@dataclass(frozen=True, slots=True)
class _Parked:
    container_id: str
    attach: Attach
    on_gone: Callable[[], None]


class Parking:
    """Holds the parked sockets of all containers; belongs to the loop it was made on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._parked: dict[int, _Parked] = {}
        self._loop.add_reader(self._epoll.fileno(), self._hung_up)

    def park(self, container_id: str, attach: Attach, on_gone: Callable[[], None]) -> None:
        """Keep ``attach.fd`` until the container starts. `on_gone` is called if the client goes first."""
        self._parked[attach.fd] = _Parked(container_id, attach, on_gone)
        self._epoll.register(attach.fd, 0)  # hang-up and error are always told

    def take(self, container_id: str) -> tuple[Attach, ...]:
        """Give out the sockets that wait for a container, in the order in which they came; they are the caller's."""
        taken = [parked for parked in self._parked.values() if parked.container_id == container_id]
        for parked in taken:
            self._forget(parked)
        return tuple(parked.attach for parked in taken)

    def drop(self, container_id: str) -> None:
        """Hang up on those that wait for a container which will not start any more."""
        for attach in self.take(container_id):
            os.close(attach.fd)

    def close(self) -> None:
        """Hang up on everyone."""
        for parked in list(self._parked.values()):
            self.drop(parked.container_id)
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _forget(self, parked: _Parked) -> None:
        self._epoll.unregister(parked.attach.fd)
        del self._parked[parked.attach.fd]

    def _hung_up(self) -> None:
        for fd, _events in self._epoll.poll(0):
            parked = self._parked[fd]
            self._forget(parked)
            os.close(fd)
            parked.on_gone()
