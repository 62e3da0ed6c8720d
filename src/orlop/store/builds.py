"""The build cache in the store: steps by key, and the last build of each target."""

from __future__ import annotations

from collections.abc import Iterable

from orlop.model.record import BuildStepRecord, LastBuildRecord
from orlop.store.records import Codec
from orlop.store.transaction import Transaction

__all__ = ["delete", "forget", "last", "lasts", "put", "remember", "steps"]

_steps = Codec(BuildStepRecord, "build step")
_lasts = Codec(LastBuildRecord, "the last build of")


def put(tx: Transaction, record: BuildStepRecord) -> None:
    """Write the `record` of a step, new or changed."""
    tx.execute("INSERT OR REPLACE INTO build_steps (key, record) VALUES (?, ?)", (record.key, _steps.encode(record)))


def delete(tx: Transaction, keys: Iterable[str]) -> None:
    """Forget steps; nothing happens for those that are not there."""
    for key in keys:
        tx.execute("DELETE FROM build_steps WHERE key = ?", (key,))


def steps(tx: Transaction) -> list[BuildStepRecord]:
    """Return every step, in no order."""
    return _steps.decode_all(tx.rows("SELECT key, record FROM build_steps"))


def remember(tx: Transaction, record: LastBuildRecord) -> None:
    """Let `record` be the last build of its target."""
    tx.execute("INSERT OR REPLACE INTO last_builds (name, record) VALUES (?, ?)", (record.name, _lasts.encode(record)))


def forget(tx: Transaction, names: Iterable[str]) -> None:
    """Forget the last builds of targets."""
    for name in names:
        tx.execute("DELETE FROM last_builds WHERE name = ?", (name,))


def last(tx: Transaction, name: str) -> LastBuildRecord | None:
    """Return the last build of a target, None if there was none."""
    found = _lasts.decode_all(tx.rows("SELECT name, record FROM last_builds WHERE name = ?", (name,)))
    return found[0] if found else None


def lasts(tx: Transaction) -> list[LastBuildRecord]:
    """Return the last build of every target, in no order."""
    return _lasts.decode_all(tx.rows("SELECT name, record FROM last_builds"))
