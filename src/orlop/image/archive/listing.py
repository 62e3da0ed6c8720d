"""What an archive says of one image in it, whatever kind it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from orlop.errors import InvalidArgument
from orlop.image.intake import TakenLayer

__all__ = ["Listed", "decode"]


@dataclass(frozen=True, slots=True)
class Listed:
    """An image: its configuration (or how to make that when the layers are known), its layers' members, its names."""

    config: bytes | Callable[[Sequence[TakenLayer]], bytes]
    layers: tuple[str, ...]
    names: tuple[str, ...] = ()
    algorithm: str = "sha256"


def decode(data: bytes, type_: Any, name: str) -> Any:
    """Decode a JSON document of the archive as `type_`. Raises `InvalidArgument`."""
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"invalid archive: {name}: {error}") from None
