"""What the engine asks of a connection that is to become a stream (attach, exec)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["AttachOptions", "Hijackable"]


class Hijackable(Protocol):
    """A client's connection whose request is answered by switching to a raw stream."""

    async def upgrade(self, *, tty: bool) -> tuple[int, bytes]:
        """Answer with the head of a stream; return the socket's descriptor and what arrived behind the request.

        The descriptor is the caller's to close or to hand on. With `tty` bytes are raw, else framed.
        """


@dataclass(frozen=True, slots=True)
class AttachOptions:
    """The query of an attach request; `detach_keys` in Docker's spelling ("ctrl-p,ctrl-q"), empty for the default."""

    logs: bool = False
    stream: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    detach_keys: str = ""
