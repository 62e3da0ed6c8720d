"""Digests: an algorithm and the hexadecimal hash of some content (image-spec descriptor.md#digests).

A `Digest` that exists is well formed: its algorithm is one that Orlop computes and its hash has the right length.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from orlop.errors import InvalidArgument

__all__ = ["ALGORITHMS", "Digest", "Hasher", "is_hex"]

ALGORITHMS = {"sha256": 64, "sha512": 128}
"""The algorithms, each with the number of hexadecimal digits of its hash."""

_SHAPE = re.compile(r"([a-z0-9]+(?:[.+_-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)", re.ASCII)
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)


class Hasher(Protocol):
    """What `hashlib` makes."""

    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A digest, shown as ``sha256:…``. Make one with `parse`, `of` or `finish`."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """The first twelve digits, as progress lines show it."""
        return self.hex[:12]

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Parse ``algorithm:hex``. Raises `InvalidArgument`."""
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise InvalidArgument("invalid checksum digest format")
        algorithm, value = match.groups()
        length = ALGORITHMS.get(algorithm)
        if length is None:
            raise InvalidArgument("unsupported digest algorithm")
        if len(value) != length:
            raise InvalidArgument("invalid checksum digest length")
        if not _HEX.fullmatch(value):
            raise InvalidArgument("invalid checksum digest format")
        return cls(algorithm, value)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """Return the digest of `data`."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    @classmethod
    def of_blocks(cls, blocks: Iterable[bytes], algorithm: str = "sha256") -> Digest:
        """Return the digest of what `blocks` make together."""
        hasher = cls.hasher(algorithm)
        for block in blocks:
            hasher.update(block)
        return cls(algorithm, hasher.hexdigest())

    @staticmethod
    def hasher(algorithm: str = "sha256") -> Hasher:
        """Return a running hash of `algorithm`; `hexdigest` of it makes a `Digest`."""
        return hashlib.new(algorithm)


def is_hex(text: str) -> bool:
    """Tell whether `text` is of lower-case hexadecimal digits, as the start of an image id may be."""
    return _HEX.fullmatch(text) is not None
