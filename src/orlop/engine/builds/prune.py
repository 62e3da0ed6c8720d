"""`POST /build/prune`, and what of the build cache goes by itself after builds (``builder.gc`` of ``daemon.json``)."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orlop.build.policy import FILTERS, Item, Rule, choose, rule_of
from orlop.engine.builds.usage import items_of, shelves
from orlop.errors import Error
from orlop.formats.filters import Filters
from orlop.formats.units import decimal_size

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["FILTERS", "collect", "prune"]

log = logging.getLogger(__name__)

Json = dict[str, Any]


async def prune(
    engine: Engine, filters: Filters, *, all: bool = False, reserved: int = 0, max_used: int = 0, min_free: int = 0
) -> Json:
    """Remove what nobody uses of the build cache: what matches `filters`, and without `all` only what no image shares.

    Sizes (bytes) say how much shall stay, see `build.policy.Rule`. Return the ids of what went, and the bytes that the
    disk got back. Raises `InvalidArgument`.
    """
    now = time.time_ns()
    rule = rule_of(filters, now, all=all, reserved=reserved, max_used=max_used, min_free=min_free)
    chosen, reclaimed = await _carry_out(engine, rule, now)
    engine.events.publish("builder", "prune", "", {"reclaimed": str(reclaimed)})
    return {"CachesDeleted": [item.id for item in chosen] or None, "SpaceReclaimed": reclaimed}


async def collect(engine: Engine) -> None:
    """Carry out the rules of the configuration; for after a build, in the background."""
    now = time.time_ns()
    disk = await asyncio.to_thread(os.statvfs, engine.config.data_root)
    for rule in engine.config.builder_gc.rules(disk.f_blocks * disk.f_frsize, now):
        chosen, reclaimed = await _carry_out(engine, rule, now)
        if chosen:
            log.info(
                "the build cache was too large or too old: %d parts removed, %s", len(chosen), decimal_size(reclaimed)
            )


async def _carry_out(engine: Engine, rule: Rule, now: int) -> tuple[Sequence[Item], int]:
    disk = await asyncio.to_thread(os.statvfs, engine.config.data_root)
    chosen = choose(await items_of(engine), rule, now=now, free=disk.f_bavail * disk.f_frsize)
    ids = {item.id for item in chosen}
    reclaimed = 0
    for shelf in shelves(engine) if ids else ():
        try:
            reclaimed += await shelf.remove(ids)
        except (Error, OSError) as error:
            log.warning("a part of the build cache could not be removed: %s", error)
    return chosen, reclaimed
