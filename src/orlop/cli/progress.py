"""What a daemon tells while it pulls, loads or imports: a line for each part, redrawn on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from orlop.cli.humanize import human_size
from orlop.cli.terminal import is_terminal, terminal_size
from orlop.errors import Error

__all__ = ["show_progress"]

Json = Mapping[str, Any]


def show_progress(messages: Iterable[Json], descriptor: int, *, quiet: bool = False) -> None:
    """Print progress messages to standard output (1) or error (2); raise `Error` for the one that is an error."""
    stream = sys.stdout if descriptor == 1 else sys.stderr
    terminal = is_terminal(descriptor)
    width = terminal_size(descriptor)[1] or 200
    rows: dict[str, int] = {}
    for message in messages:
        if failed := message.get("errorDetail") or message.get("error"):
            text = failed.get("message", "") if isinstance(failed, dict) else str(failed)
            stream.flush()
            raise Error(text)
        if quiet or "aux" in message:
            continue
        part = message.get("id", "")
        bar = _bar(message, width) if terminal else message.get("progress", "")
        if not terminal and _is_moving(message):
            continue  # a log has no use for how far a part is
        move = ""
        if terminal and part and (bar or _is_moving(message) or part in rows):
            if part not in rows:
                rows[part] = len(rows)
                stream.write("\n")
            move = f"\033[{len(rows) - rows[part]}A"
        stream.write(_line(message, bar, move, len(rows) - rows[part] if move else 0))
        stream.flush()


def _is_moving(message: Json) -> bool:
    detail = message.get("progressDetail") or {}
    return bool(detail.get("current") or detail.get("total"))


def _line(message: Json, bar: str, move: str, down: int) -> str:
    part = f"{message['id']}: " if message.get("id") else ""
    origin = f"(from {message['from']}) " if message.get("from") else ""
    if "stream" in message and not bar:
        return f"{part}{origin}{message['stream']}"
    text = f"{part}{origin}{message.get('status', '')}{' ' + bar if bar else ''}"
    return f"{move}\033[2K\r{text}\r\033[{down}B" if move else f"{text}\n"


def _bar(message: Json, width: int) -> str:
    detail = message.get("progressDetail") or {}
    current, total = detail.get("current", 0), detail.get("total", 0)
    if not current and not total:
        return ""
    if total <= 0:
        return human_size(current)
    numbers = f"{human_size(current):>8}/{human_size(total)}"
    if width <= 110:
        return numbers
    done = min(50, int(current / total * 100) // 2)
    return f"[{'=' * done}>{' ' * (50 - done)}] {numbers}"
