"""Collecting garbage: roots in, garbage out.

A *name* is the digest of a blob or the name of a layer's directory. What neither a record nor a lease names goes; it
is looked for among the names that an operation gave up, or among all that there is (at the start, after a crash).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.image.depot import Depot
from orlop.image.layers import Layers
from orlop.model.record import ImageRecord

__all__ = ["collect", "everything", "garbage", "names_of"]


def names_of(record: ImageRecord, layers: Layers) -> set[str]:
    """Return every name that an image needs."""
    names = {record.id}
    if record.manifest:
        names.add(record.manifest)
    names.update(layer.blob for layer in record.layers if layer.blob)
    found = layers.find([layer.diff_id for layer in record.layers])
    names.update(name for name in found if name is not None)
    return names


def everything(depot: Depot) -> set[str]:
    """Return the names of all that is there."""
    return {*map(str, depot.content.digests()), *depot.layers.names()}


def collect(
    depot: Depot,
    roots: Callable[[], Iterable[ImageRecord]],
    candidates: Iterable[str],
    keep: Callable[[], Iterable[str]] = tuple,
) -> int:
    """Remove those of `candidates` that no record of `roots`, not `keep` and no lease names; return the bytes of blobs
    freed.

    `roots` is asked under the leases' lock: who names something new does so before its lease ends. Raises `OSError`.
    """
    freed = 0
    with depot.leases.lock:
        for name in garbage(depot, roots, candidates, keep):
            if depot.layers.has(name):
                depot.layers.remove(name)
            elif ":" in name:
                freed += _remove_blob(depot, name)
    return freed


def garbage(
    depot: Depot,
    roots: Callable[[], Iterable[ImageRecord]],
    candidates: Iterable[str],
    keep: Callable[[], Iterable[str]] = tuple,
) -> list[str]:
    """Return those of `candidates` that `collect` would remove."""
    with depot.leases.lock:
        needed = set(keep())
        for record in roots():
            needed |= names_of(record, depot.layers)
        return [name for name in candidates if name not in needed and not depot.leases.held(name)]


def _remove_blob(depot: Depot, name: str) -> int:
    try:
        return depot.content.remove(Digest.parse(name))
    except InvalidArgument:
        return 0  # a file of another name, which is not ours
