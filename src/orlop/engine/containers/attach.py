"""`POST /containers/{id}/attach`: a client's socket is handed to the shim, or parked until there is one."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from orlop.engine.containers import events, logs
from orlop.engine.containers.registry import Container
from orlop.engine.hijack import AttachOptions, Hijackable
from orlop.errors import Conflict, InvalidArgument
from orlop.formats import detach, identity
from orlop.runtime.logs import LogQuery
from orlop.runtime.runtime import Attach

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["attach", "detach_keys"]

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"


def detach_keys(text: str) -> bytes:
    """Return the bytes of a key sequence; empty text is the default one. Raises `InvalidArgument`."""
    try:
        return detach.parse_keys(text or DEFAULT_DETACH_KEYS)
    except detach.DetachKeyError:
        raise InvalidArgument(f"Invalid detach keys ({text}) provided") from None


async def attach(engine: Engine, ref: str, *, options: AttachOptions, connection: Hijackable) -> None:
    """Join a client to a container's streams.

    With a container that does not run the client waits for its start; with `logs` alone it gets what was written.
    """
    keys = detach_keys(options.detach_keys)
    container = engine.containers.resolve(ref)
    if container.state.status == "paused":
        raise Conflict(f"container {ref} is paused, unpause the container before attach")
    if container.state.status == "restarting":
        raise Conflict(f"container {ref} is restarting, wait until the container is running")
    config = container.record.config
    fd, tail = await connection.upgrade(tty=config.tty)
    request = Attach(
        id=identity.new_id()[:16],
        fd=fd,
        stdin=options.stdin and options.stream,
        stdout=options.stdout,
        stderr=options.stderr,
        logs=options.logs,
        stream=options.stream,
        framed=not config.tty,
        detach_keys=keys,
        tail=tail,
    )
    task = container.task
    if task is not None and container.running:
        await task.attach(request)
    elif container.gone:
        os.close(fd)
    elif options.stream:
        engine.parking.park(container.id, request, lambda: _gone(engine, container))
    else:
        engine.spawn(_replay(engine, container, request), f"log for {container.id[:12]}")
    events.publish(engine, container, "attach")


def _gone(engine: Engine, container: Container) -> None:
    events.publish(engine, container, "detach")


async def _replay(engine: Engine, container: Container, request: Attach) -> None:
    """Write the journal of a container that does not run to the client, and hang up."""
    query = LogQuery(stdout=request.stdout, stderr=request.stderr)
    loop = asyncio.get_running_loop()
    with socket.socket(fileno=request.fd) as sock:
        sock.setblocking(False)
        if request.logs:
            stream = await logs.logs(engine, container.id, query=query)
            async for block in stream.blocks:
                await loop.sock_sendall(sock, block)
        os.set_blocking(sock.fileno(), True)
