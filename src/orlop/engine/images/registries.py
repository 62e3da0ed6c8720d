"""The way to registries: a client with the daemon's settings and the credentials of whoever asks.

The client brings an HTTP library along, which is loaded when the first one is wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.engine.config import EngineConfig
from orlop.errors import InvalidArgument
from orlop.formats.reference import Reference
from orlop.model.record import LayerRecord
from orlop.registry.client.config import Patience, RegistryConfig
from orlop.registry.client.credentials import Credentials, parse_auth_header

if TYPE_CHECKING:
    from orlop.engine.engine import Engine
    from orlop.registry.client.client import RegistryClient
    from orlop.registry.client.repository import Repository

__all__ = ["client", "lasting_repository", "optional_credentials", "settings"]


def settings(config: EngineConfig) -> RegistryConfig:
    """Return what the daemon's flags say of registries."""
    return RegistryConfig(
        insecure=config.insecure_registries,
        mirrors=config.registry_mirrors,
        patience=Patience(attempts=config.max_download_attempts),
    )


def client(engine: Engine, credentials: Credentials | None, *, insecure: tuple[str, ...] = ()) -> RegistryClient:
    """Return a client, to be used as an asynchronous context manager; `insecure` are further such registries."""
    from orlop.registry.client.client import RegistryClient

    config = settings(engine.config)
    return RegistryClient(replace(config, insecure=(*config.insecure, *insecure)), credentials)


def optional_credentials(header: str) -> Credentials | None:
    """Return the credentials of an ``X-Registry-Auth`` that need not be there: one that is broken counts as none."""
    try:
        return parse_auth_header(header)
    except InvalidArgument:
        return None


@asynccontextmanager
async def lasting_repository(
    engine: Engine, credentials: Credentials | None, reference: Reference
) -> AsyncIterator[Repository]:
    """Open the repository of `reference`; it stays open behind the block while others fetch layers from it."""
    door = client(engine, credentials)
    await door.__aenter__()
    repository = door.repository(reference)
    try:
        yield repository
    finally:
        fetches = engine.fetches.using(repository)
        if fetches:
            engine.spawn(_closed_after(door, fetches), f"closing of {reference.name}")
        else:
            await door.__aexit__(None, None, None)


async def _closed_after(door: RegistryClient, fetches: Sequence[asyncio.Task[LayerRecord]]) -> None:
    try:
        await asyncio.wait(fetches)
    finally:
        await door.__aexit__(None, None, None)
