"""`GET /images/{name}/history`: how an image came to be, its last step first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.errors import InvalidArgument
from orlop.formats.duration import parse_rfc3339

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["history"]

Json = dict[str, Any]


async def history(engine: Engine, name: str) -> list[Json]:
    """Return the steps in the form of the API. Raises `NotFound`."""
    record = engine.images.resolve(name)
    steps: list[Json] = engine.images.config(record).get("history") or []
    sizes = [layer.unpacked_size for layer in record.layers]
    answer: list[Json] = []
    index = 0
    for step in steps:
        size = 0
        if not step.get("empty_layer"):
            size = sizes[index] if index < len(sizes) else 0  # an image may tell of more steps than it has layers
            index += 1
        answer.append(_entry(step, size))
    answer.reverse()
    if not answer:
        answer = [_entry({}, record.size)]
    answer[0]["Id"] = record.id
    answer[0]["Tags"] = engine.images.names(record.id) or None
    return answer


def _entry(step: Json, size: int) -> Json:
    return {
        "Comment": step.get("comment") or "",
        "Created": _seconds(step.get("created")),
        "CreatedBy": step.get("created_by") or "",
        "Id": "<missing>",
        "Size": size,
        "Tags": None,
    }


def _seconds(text: str | None) -> int:
    try:
        return parse_rfc3339(text) // 10**9 if text else 0
    except InvalidArgument:
        return 0
