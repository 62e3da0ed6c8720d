"""Containers in the store: a record by id, names unique."""

from __future__ import annotations

from orlop.errors import Conflict
from orlop.model.record import ContainerRecord
from orlop.store.records import Codec
from orlop.store.transaction import Transaction, UniqueViolation

__all__ = ["all", "delete", "put"]

_codec = Codec(ContainerRecord, "container")


def put(tx: Transaction, record: ContainerRecord) -> None:
    """Write `record`, new or changed. Raises `errors.Conflict` when another container has its name."""
    try:
        tx.execute(
            "INSERT INTO containers (id, name, record) VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET name = excluded.name, record = excluded.record",
            (record.id, record.name, _codec.encode(record)),
        )
    except UniqueViolation as error:
        row = tx.row("SELECT id FROM containers WHERE name = ?", (record.name,))
        raise Conflict(
            f'Conflict. The container name "/{record.name}" is already in use by container "{row[0] if row else ""}".'
            " You have to remove (or rename) that container to be able to reuse that name."
        ) from error


def delete(tx: Transaction, container_id: str) -> None:
    """Forget a container; nothing happens if there is none."""
    tx.execute("DELETE FROM containers WHERE id = ?", (container_id,))


def all(tx: Transaction) -> list[ContainerRecord]:
    """Return every container, in no order."""
    return _codec.decode_all(tx.rows("SELECT id, record FROM containers"))
