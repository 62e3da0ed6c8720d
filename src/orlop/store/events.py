"""Events in the store: the last ones, in the order in which they were published, over restarts of the daemon."""

from __future__ import annotations

from collections.abc import Sequence

from orlop.model.record import EventRecord
from orlop.store.records import Codec
from orlop.store.transaction import Transaction

__all__ = ["KEEP", "append", "between", "trim"]

KEEP = 10_000
_TRIM_EVERY = 1024
_codec = Codec(EventRecord, "event")


def append(tx: Transaction, events: Sequence[EventRecord]) -> None:
    """Write `events` behind those that are there; now and then forget the oldest beyond `KEEP`."""
    before = _last(tx)
    tx.execute_many(
        "INSERT INTO events (time, record) VALUES (?, ?)", [(event.time, _codec.encode(event)) for event in events]
    )
    if _last(tx) // _TRIM_EVERY != before // _TRIM_EVERY:
        trim(tx)


def between(tx: Transaction, since_ns: int, until_ns: int) -> list[EventRecord]:
    """Return the events with ``since_ns <= time <= until_ns``, as published."""
    rows = tx.rows(
        "SELECT sequence, record FROM events WHERE time BETWEEN ? AND ? ORDER BY sequence", (since_ns, until_ns)
    )
    return _codec.decode_all(rows)


def trim(tx: Transaction, keep: int = KEEP) -> None:
    """Forget all but the last `keep` events."""
    tx.execute("DELETE FROM events WHERE sequence <= ?", (_last(tx) - keep,))


def _last(tx: Transaction) -> int:
    row = tx.row("SELECT max(sequence) FROM events")
    return row[0] or 0 if row else 0
