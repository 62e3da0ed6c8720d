"""Where a container's things lie: its run directory, its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.formats.units import parse_decimal_size
from orlop.model.api.container import LogConfig
from orlop.runtime.runtime import LogTarget

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["CGROUP_NOTE", "log_target", "run_dir"]

# The journal is bounded where the user says nothing: 5 files of 20 MiB.
LOG_FILE_SIZE = 20 << 20
LOG_FILES = 5

CGROUP_NOTE = "cgroup"
"""In the directory of what is in no store (a step of a build): the path of its cgroup, if that is elsewhere."""


def log_target(engine: Engine, container_id: str, config: LogConfig) -> LogTarget:
    """Return where a container's journal goes; `max-size` and `max-file` are Docker's options of that name."""
    if config.type == "none":
        return LogTarget(None)
    options = config.config or {}
    size, files_kept = options.get("max-size"), options.get("max-file")
    return LogTarget(
        directory=str(engine.directory(container_id) / "log"),
        max_bytes=parse_decimal_size(size) if size and size != "-1" else LOG_FILE_SIZE,
        max_files=int(files_kept) if files_kept else LOG_FILES,
    )


def run_dir(engine: Engine, container_id: str) -> str:
    """Return the directory of a running container: its shim's socket, its state and its exit status."""
    return str(engine.config.exec_root / "c" / container_id[:12])
