"""Volumes in the store: a record by name."""

from __future__ import annotations

from orlop.model.record import VolumeRecord
from orlop.store.records import Codec
from orlop.store.transaction import Transaction

__all__ = ["all", "delete", "put"]

_codec = Codec(VolumeRecord, "volume")


def put(tx: Transaction, record: VolumeRecord) -> None:
    """Write `record`, new or changed."""
    tx.execute("INSERT OR REPLACE INTO volumes (name, record) VALUES (?, ?)", (record.name, _codec.encode(record)))


def delete(tx: Transaction, name: str) -> None:
    """Forget a volume; nothing happens if there is none."""
    tx.execute("DELETE FROM volumes WHERE name = ?", (name,))


def all(tx: Transaction) -> list[VolumeRecord]:
    """Return every volume, in no order."""
    return _codec.decode_all(tx.rows("SELECT name, record FROM volumes"))
