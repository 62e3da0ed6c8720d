"""`GET /containers/{id}/logs`: the journal, read while it grows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orlop.engine.containers import places
from orlop.engine.containers.registry import Container
from orlop.errors import InvalidArgument, NotImplementedYet
from orlop.formats import regexp
from orlop.runtime.logs import LogQuery, details_prefix, read_logs

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["LogStream", "logs"]


@dataclass(frozen=True, slots=True)
class LogStream:
    """Blocks of a log, ready to be sent: raw with a terminal, else framed."""

    tty: bool
    blocks: AsyncIterator[bytes]


async def logs(engine: Engine, ref: str, *, query: LogQuery) -> LogStream:
    """Return a container's log. Raises `InvalidArgument` when neither stream is asked for."""
    if not (query.stdout or query.stderr):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    container = engine.containers.resolve(ref)
    record = container.record
    target = places.log_target(engine, record.id, record.host_config.log_config)
    if target.directory is None:
        raise NotImplementedYet("configured logging driver does not support reading")
    if query.details:
        query = replace(query, details=_details(container))
    return LogStream(record.config.tty, _blocks(engine, container, target.directory, query))


async def _blocks(engine: Engine, container: Container, directory: str, query: LogQuery) -> AsyncIterator[bytes]:
    until = _end(engine, container) if query.follow else None
    try:
        async with aclosing(read_logs(directory, query, container.record.config.tty, until)) as blocks:
            async for block in blocks:
                yield block
    finally:
        if until is not None:
            until.cancel()  # whoever reads it has left: nobody waits for the end


def _end(engine: Engine, container: Container) -> asyncio.Future[None]:
    """Return a future that is done when nothing more will be written."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    if not container.running and container.state.status != "restarting":
        done.set_result(None)
        return done

    async def wait() -> None:
        while container.running or container.state.status == "restarting":
            await container.on_exit()
        if not done.done():
            done.set_result(None)

    watcher = engine.spawn(wait(), f"end of the log of {container.id[:12]}")
    done.add_done_callback(lambda _: watcher.cancel())
    return done


def _details(container: Container) -> str:
    """Return what `docker logs --details` puts before each line: the labels and variables that the log options name."""
    config, options = container.record.config, container.record.host_config.log_config.config or {}
    environment = dict(entry.partition("=")[::2] for entry in config.env or [])
    chosen = _chosen(config.labels or {}, options, "labels") | _chosen(environment, options, "env")
    return details_prefix(chosen)


def _chosen(attributes: dict[str, str], options: dict[str, str], option: str) -> dict[str, str]:
    """Return the attributes that `option` lists or that the expression of ``<option>-regex`` is found in."""
    names = options.get(option, "").split(",")
    expression = options.get(f"{option}-regex")
    return {
        key: value
        for key, value in attributes.items()
        if key in names or (expression and regexp.found(expression, key))
    }
