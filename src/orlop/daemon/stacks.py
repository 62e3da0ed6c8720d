"""What the daemon is doing: the stack of every thread, and of every task down to what it waits for."""

from __future__ import annotations

import asyncio
import faulthandler
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["write_stacks"]


def write_stacks(path: Path) -> None:
    """Write the stacks to a new file. Raises `OSError`."""
    with path.open("w") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        for task in asyncio.all_tasks():
            file.write(f"\nTask {task.get_name()}:\n")
            for frame in _frames(task.get_coro()):
                code = frame.f_code
                file.write(f'  File "{code.co_filename}", line {frame.f_lineno} in {code.co_qualname}\n')


def _frames(awaited: Any) -> Iterator[FrameType]:
    """Yield the frames of a coroutine and of what it waits for, outermost first."""
    while awaited is not None:
        frame = next((found for name in _FRAMES if (found := getattr(awaited, name, None)) is not None), None)
        if frame is not None:
            yield frame
        awaited = next((found for name in _AWAITED if (found := getattr(awaited, name, None)) is not None), None)


_FRAMES = ("cr_frame", "gi_frame", "ag_frame")
_AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")
