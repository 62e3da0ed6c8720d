"""``--explain``: what each step cost, whether the cache had it, and if not, which of its inputs have changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from orlop.cli.build.output import plain_text
from orlop.cli.build.vertices import Vertex
from orlop.cli.humanize import human_size
from orlop.cli.output import ellipsis, tabulate

__all__ = ["explain_text"]

_WIDEST = 48
_LONGEST = 100  # characters of an old or new value
_DIGEST = re.compile(r"(sha256:)?([0-9a-f]{12})[0-9a-f]{52}")
_REASONS = {
    "first": "it is new: the last build of this target had no such step",
    "changed": "what it is made of has changed",
    "pruned": "it was removed from the cache",
    "no-cache": "the cache was not to be used",
}


def explain_text(vertices: Iterable[Vertex]) -> str:
    """Return a table of the steps; below each that was carried out, why. It is "" if there was none."""
    steps = sorted((vertex for vertex in vertices if vertex.step), key=lambda vertex: vertex.step)
    if not steps:
        return ""
    text = tabulate("\n".join(["STEP\tCACHE\tTIME\tSIZE", *(_row(vertex) for vertex in steps)]))
    heading, *rows = text.split("\n")
    lines = [heading.rstrip()]
    for vertex, row in zip(steps, rows, strict=True):
        lines += [row.rstrip(), *_why(vertex)]
    hits = [vertex for vertex in steps if vertex.cached]
    saved = sum((vertex.ended or {}).get("seconds", 0.0) for vertex in hits)
    lines.append(f"\n{len(hits)} of {len(steps)} steps came from the cache, which saved {_seconds(saved)}.")
    return "\n".join(lines) + "\n"


def _row(vertex: Vertex) -> str:
    ended = vertex.ended or {}
    size = human_size(ended.get("bytes", 0), 3) if ended.get("result") else ""
    cost = ended.get("seconds", 0.0)
    if vertex.cached:
        cache = "hit"
    elif vertex.error:
        cache, cost = "failed", vertex.seconds(0)
    else:
        cache = "canceled" if vertex.cancelled or vertex.running else "miss"
    return f"{ellipsis(vertex.name, _WIDEST)}\t{cache}\t{_seconds(cost) if ended.get('result') or cost else ''}\t{size}"


def _why(vertex: Vertex) -> list[str]:
    ended = vertex.ended or {}
    reason = str(ended.get("reason") or "")
    if vertex.cached or not reason:
        return []
    changes = ended.get("changes") or ()
    if reason == "changed" and changes:
        return [f"    {_change(change)}" for change in changes]
    return [f"    {_REASONS.get(reason, reason)}"]


def _change(change: Mapping[str, Any]) -> str:
    name, old, new = (plain_text(str(change.get(key) or "")) for key in ("name", "old", "new"))
    what = f"{change['what']} {name}".rstrip()
    if not old and not new:
        return f"{what}"
    if not old:
        return f"{what}: new, {_value(new)}"
    if not new:
        return f"{what}: gone, was {_value(old)}"
    return f"{what}: {' -> '.join(map(_value, _differing(old, new)))}"


def _differing(old: str, new: str) -> tuple[str, str]:
    """Leave out the words that two fingerprints of a file have in common."""
    pairs = list(zip(old.split(), new.split(), strict=False))
    if len(old.split()) != len(new.split()) or "sha256:" not in old:
        return old, new
    differing = [(before, after) for before, after in pairs if before != after]
    return " ".join(before for before, _ in differing), " ".join(after for _, after in differing)


def _value(text: str) -> str:
    """Return a value, its digests shortened as ids are."""
    return ellipsis(_DIGEST.sub(r"\1\2", text), _LONGEST)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}s" if seconds < 10 else f"{seconds:.1f}s"
