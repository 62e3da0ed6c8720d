"""The error of a conversion: which instruction it is about."""

from __future__ import annotations

from orlop.build.dockerfile.tree import Range
from orlop.errors import InvalidArgument

__all__ = ["ConversionError"]


class ConversionError(InvalidArgument):
    """An instruction that was parsed but makes no sense where it stands; `range` is None for the whole Dockerfile."""

    def __init__(self, message: str, range: Range | None = None) -> None:
        super().__init__(message)
        self.range = range
