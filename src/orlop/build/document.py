"""The configuration document of an image that a build makes (image-spec config.md): pure.

Nothing in it is measured but the times at which layers were made, so a build that finds everything in its cache makes
the same image again. With an epoch (``SOURCE_DATE_EPOCH``) no time is left that could differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from orlop.build.graph import Graph, History
from orlop.build.inline_cache import FIELD, Made, cache_document
from orlop.formats.duration import SECOND, format_rfc3339

__all__ = ["image_document"]

Json = dict[str, Any]


def image_document(
    graph: Graph, diff_ids: Sequence[str], created_at: Mapping[int, int], made: Sequence[Made] = ()
) -> bytes:
    """Return the document of the image that `graph` is about.

    `diff_ids` are the layers of its file system, bottom first, `created_at` says when the layer of a node was made
    (ns), and `made` which steps made the topmost layers.
    """
    target = graph.target
    history = _history(graph, created_at)
    config: Json = {
        "architecture": target.platform.architecture,
        "os": target.platform.os,
        "config": target.config,
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": history,
    }
    created = _last([entry.get("created") for entry in history])
    if graph.epoch is not None:
        created = _date(graph.epoch * SECOND)
    optional = {"variant": target.platform.variant, "author": target.author, "created": created}
    config |= {key: value for key, value in optional.items() if value}
    if made:
        config[FIELD] = cache_document(made, graph.epoch)
    return json.dumps(config, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")


def _history(graph: Graph, created_at: Mapping[int, int]) -> list[Json]:
    """Return all entries, each with a time.

    What makes no layer is of the time of the layer below; before the first new layer it is of that one's time, not of
    the base image's, unless there is no new layer at all. A base image's own entries stay as they are.
    """
    base = [dict(entry) for entry in graph.target.base_history]
    times = [_time(graph, entry, created_at) for entry in graph.target.history]
    first = next((time for time in times if time), _last([entry.get("created") for entry in base]))
    added: list[Json] = []
    for entry, time in zip(graph.target.history, times, strict=True):
        first = time or first
        added.append(_entry(entry, first))
    return base + added


def _time(graph: Graph, entry: History, created_at: Mapping[int, int]) -> str:
    """Return when the layer of an entry was made; with an epoch every entry has a time."""
    if graph.epoch is not None:
        return _date(graph.epoch * SECOND)
    if entry.empty or not entry.step:
        return ""
    return _date(created_at.get(graph.steps[entry.step - 1].node, 0))


def _entry(entry: History, created: str) -> Json:
    fields: Json = {
        "created": created,
        "created_by": entry.created_by,
        "author": entry.author,
        "comment": entry.comment,
        "empty_layer": entry.empty,
    }
    return {key: value for key, value in fields.items() if value}


def _last(times: Sequence[Any]) -> str:
    """Return the last of the times that are some, "" for none."""
    return next((time for time in reversed(times) if isinstance(time, str) and time), "")


def _date(ns: int) -> str:
    return format_rfc3339(ns) if ns else "1970-01-01T00:00:00Z"  # 0 is a time here
