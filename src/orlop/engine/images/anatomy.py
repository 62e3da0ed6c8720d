"""`GET /orlop/images/{name}/layers` and `/orlop/images/diff`: what is in the layers of an image, and between two."""

from __future__ import annotations

import asyncio
import itertools
import os
import stat
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from orlop.engine.uncut import uncut
from orlop.errors import InvalidArgument, NotFound
from orlop.image.anatomy.between import Difference, compare_images
from orlop.image.anatomy.tree import Kind
from orlop.image.anatomy.waste import Count, FileChange, LayerSums, dissect
from orlop.image.collect import names_of
from orlop.image.leases import Lease
from orlop.model.record import ImageRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["diff", "layers"]

Json = dict[str, Any]
T = TypeVar("T")

_BATCH = 1000  # changes that a thread finds at a time
_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFSOCK: "socket",
}


async def layers(engine: Engine, name: str, *, files: bool = True) -> AsyncGenerator[Json, None]:
    """Yield what each layer of an image does to each file (if `files`), bottom first, and at the end the sums.

    Raises `NotFound`.
    """
    record = engine.images.resolve(name)
    lease = engine.images.lease()
    sums: list[LayerSums] = []
    try:
        directories = _directories(engine, record, lease)
        async with aclosing(_in_thread(dissect(directories, sums))) as changes:
            async for change in changes:
                if files:
                    yield {"File": _change(change)}
        yield _summary(engine, record, sums)
    finally:
        await asyncio.to_thread(lease.release)


async def diff(engine: Engine, first: str, second: str) -> AsyncGenerator[Json, None]:
    """Yield each path that differs between two images, sorted, and at the end the sums. Raises `NotFound`."""
    if not first or not second:
        raise InvalidArgument("two images are needed: from and to")
    records = engine.images.resolve(first), engine.images.resolve(second)
    lease = engine.images.lease()
    sums = {kind: Count() for kind in Kind}
    try:
        before, after = (_directories(engine, record, lease) for record in records)
        async with aclosing(_in_thread(compare_images(before, after))) as differences:
            async for found in differences:
                status = found.after or found.before
                if status is not None and not stat.S_ISDIR(status.st_mode):
                    sums[found.kind].add(status.st_size)
                yield {"File": _difference(found)}
        counts = {kind.name.capitalize(): _count(count) for kind, count in sums.items()}
        yield {"Summary": {"From": records[0].id, "To": records[1].id, **counts}}
    finally:
        await asyncio.to_thread(lease.release)


def _directories(engine: Engine, record: ImageRecord, lease: Lease) -> list[str]:
    """Return the directories of an image's layers, bottom first, which stay while the lease is held."""
    for name in names_of(record, engine.images.layers):
        lease.hold(name)
    return [str(engine.images.layers.path / name) for name in engine.images.layers.names_of(record)]


async def _in_thread(values: Generator[T, None, None]) -> AsyncGenerator[T, None]:
    """Iterate in a thread, some at a time: finding them takes long, and nobody else waits for it."""
    try:
        while batch := await uncut(lambda: list(itertools.islice(values, _BATCH))):
            for value in batch:
                yield value
    finally:
        values.close()


def _change(change: FileChange) -> Json:
    return {
        "Layer": change.layer,
        "Path": _text(change.path),
        "Kind": change.kind.value,
        "Size": change.size,
        "Hidden": change.hidden,
        "Copy": change.copy,
    }


def _summary(engine: Engine, record: ImageRecord, sums: list[LayerSums]) -> Json:
    steps = _steps(engine, record)
    shown = [
        {
            "DiffId": layer.diff_id,
            "CreatedBy": steps[index] if index < len(steps) else "",
            "Size": each.size,
            "Added": _count(each.added),
            "Changed": _count(each.changed),
            "Removed": _count(each.removed),
            "Wasted": each.wasted,
            "Copies": _count(each.copies),
        }
        for index, (layer, each) in enumerate(zip(record.layers, sums, strict=True))
    ]
    size, wasted = sum(each.size for each in sums), sum(each.wasted for each in sums)
    return {"Summary": {"Id": record.id, "Layers": shown, "Size": size, "Wasted": wasted}}


def _steps(engine: Engine, record: ImageRecord) -> list[str]:
    """Return the commands that made the layers, bottom first, as far as the image's history tells."""
    try:
        history = engine.images.config(record).get("history") or []
    except NotFound:
        return []
    return [step.get("created_by") or "" for step in history if not step.get("empty_layer")]


def _difference(found: Difference) -> Json:
    return {
        "Path": _text(found.path),
        "Kind": found.kind.value,
        "Before": _status(found.before),
        "After": _status(found.after),
    }


def _status(status: os.stat_result | None) -> Json | None:
    if status is None:
        return None
    return {
        "Type": _TYPES[stat.S_IFMT(status.st_mode)],
        "Mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "Uid": status.st_uid,
        "Gid": status.st_gid,
        "Size": 0 if stat.S_ISDIR(status.st_mode) else status.st_size,
    }


def _count(count: Count) -> Json:
    return {"Files": count.files, "Bytes": count.bytes}


def _text(path: str) -> str:
    """Return a path as JSON can hold it; bytes that are no text are shown as such."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
