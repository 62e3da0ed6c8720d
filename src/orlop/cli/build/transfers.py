"""How far a transfer is, in a line: of a context, of the layers of a base image, of a download."""

from __future__ import annotations

from orlop.cli.build.output import plain_text
from orlop.cli.build.vertices import Json
from orlop.cli.humanize import human_size

__all__ = ["transfer_text"]


def transfer_text(record: Json) -> str:
    """Return what a transfer does, "" if there is nothing to tell."""
    name = plain_text(str(record.get("id", "")))
    status = plain_text(str(record.get("status", "")))
    current, total = int(record.get("current") or 0), int(record.get("total") or 0)
    parts = [f"{name}: {status}" if name and status else name or status]
    if current or total:
        parts.append(f"{human_size(current)} / {human_size(total)}" if total > current else human_size(current))
    elif not status and not record.get("done"):
        return ""
    counts = [_counted(record[key], what) for key, what in (("hashed", "read"), ("files", "sent")) if record.get(key)]
    text = " ".join(parts) + (f" ({', '.join(counts)})" if counts else "")
    return f"{text} done" if record.get("done") else text


def _counted(number: int, what: str) -> str:
    return f"{number} file{'' if number == 1 else 's'} {what}"
