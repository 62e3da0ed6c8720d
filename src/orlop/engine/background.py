"""Work that goes on after an answer: every task has this owner, ends with it, and its failure is logged once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from orlop.errors import Error

__all__ = ["Background"]

log = logging.getLogger(__name__)


class Background:
    """A group of tasks that belong to an engine."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[None]:
        """Start `work`; what it raises is logged under `name`."""
        task = asyncio.get_running_loop().create_task(self._run(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        try:
            await work
        except Error as error:
            log.error("%s failed: %s", name, error)
        except Exception:
            log.exception("%s failed", name)

    async def close(self, patience: float = 5.0) -> None:
        """Wait `patience` seconds for what is under way, then cancel the rest."""
        current = asyncio.current_task()
        waiting = {task for task in self._tasks if task is not current}
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
