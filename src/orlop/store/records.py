"""Records as they stand in a row: JSON, read back into their type and checked on the way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import msgspec

from orlop.errors import Internal
from orlop.model.record import Record

__all__ = ["Codec"]

RecordT = TypeVar("RecordT", bound=Record)


class Codec(Generic[RecordT]):
    """Writes and reads one type of record. Fields that this version does not know are dropped when read."""

    def __init__(self, record_type: type[RecordT], noun: str) -> None:
        self._decoder = msgspec.json.Decoder(record_type)
        self._encoder = msgspec.json.Encoder()
        self._noun = noun

    def encode(self, record: RecordT) -> bytes:
        """Return the bytes for the ``record`` column."""
        return self._encoder.encode(record)

    def decode(self, key: str, data: bytes) -> RecordT:
        """Return the record. Raises `errors.Internal` that names it when its row makes no sense."""
        try:
            return self._decoder.decode(data)
        except msgspec.MsgspecError as error:
            raise Internal(f"the metadata of {self._noun} {key} cannot be read: {error}") from error

    def decode_all(self, rows: Iterable[tuple[Any, ...]]) -> list[RecordT]:
        """Return the records of rows (key, record)."""
        return [self.decode(str(key), data) for key, data in rows]
