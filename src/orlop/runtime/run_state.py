"""What a shim leaves in its run directory: ``state.json`` while it runs, ``exit.json`` when its container has ended.

Both carry the kernel's boot id: `/run` need not be a tmpfs, and what another boot wrote is history.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orlop.linux import proc
from orlop.runtime.runtime import Exit

__all__ = ["SOCKET", "RunState", "exit_of", "forget", "read_exit", "read_state"]

_log = logging.getLogger(__name__)
SOCKET = "shim.sock"


@dataclass(frozen=True, slots=True)
class RunState:
    """A running container as its shim wrote it down."""

    id: str
    shim_pid: int
    shim_start_ticks: int
    pid: int
    start_ticks: int
    started_at: int  # ns


def read_state(run_dir: str, container_id: str) -> RunState | None:
    """Return the state of `container_id` in this boot, None if there is none."""
    fields = _read(Path(run_dir) / "state.json")
    if fields is None or fields.get("id") != container_id:
        return None
    return RunState(
        container_id,
        *(int(fields.get(name) or 0) for name in ("shim_pid", "shim_start_ticks", "pid", "start_ticks", "started_at")),
    )


def read_exit(run_dir: str) -> Exit | None:
    """Return how the container ended in this boot, None if that was not written."""
    fields = _read(Path(run_dir) / "exit.json")
    return None if fields is None else exit_of(fields)


def forget(run_dir: str) -> None:
    """Remove what an earlier run of the container left, which must not be taken for the next one's."""
    for name in ("exit.json", "state.json"):
        Path(run_dir, name).unlink(missing_ok=True)


def exit_of(fields: dict[str, Any]) -> Exit:
    """Return the exit that ``exit.json`` or a message tells."""
    number = int(fields.get("signal") or 0)
    return Exit(
        code=128 + number if number else int(fields.get("exit_code") or 0),
        time=int(fields.get("time") or 0),
        oom_killed=bool(fields.get("oom_killed")),
        error=str(fields.get("error") or ""),
    )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        fields = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.error("%s cannot be read: %s", path, error)
        return None
    if not isinstance(fields, dict) or fields.get("boot_id") != proc.boot_id():
        return None
    return fields
