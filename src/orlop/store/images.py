"""Images in the store: records by id, and the names that point to them."""

from __future__ import annotations

from orlop.model.record import ImageRecord
from orlop.store.records import Codec
from orlop.store.transaction import Transaction

__all__ = ["all", "delete", "delete_reference", "put", "references", "set_reference"]

_codec = Codec(ImageRecord, "image")


def put(tx: Transaction, record: ImageRecord) -> None:
    """Write `record`, new or changed."""
    tx.execute("INSERT OR REPLACE INTO images (id, record) VALUES (?, ?)", (record.id, _codec.encode(record)))


def delete(tx: Transaction, image_id: str) -> None:
    """Forget an image and every name that points to it."""
    tx.execute("DELETE FROM image_references WHERE image_id = ?", (image_id,))
    tx.execute("DELETE FROM images WHERE id = ?", (image_id,))


def all(tx: Transaction) -> list[ImageRecord]:
    """Return every image, in no order."""
    return _codec.decode_all(tx.rows("SELECT id, record FROM images"))


def set_reference(tx: Transaction, name: str, image_id: str) -> None:
    """Let `name` ("docker.io/library/busybox:latest") point to an image, whatever it pointed to before."""
    tx.execute("INSERT OR REPLACE INTO image_references (name, image_id) VALUES (?, ?)", (name, image_id))


def delete_reference(tx: Transaction, name: str) -> None:
    """Forget a name; nothing happens if there is none."""
    tx.execute("DELETE FROM image_references WHERE name = ?", (name,))


def references(tx: Transaction) -> dict[str, str]:
    """Return every name with the id of its image."""
    return dict(tx.rows("SELECT name, image_id FROM image_references"))
