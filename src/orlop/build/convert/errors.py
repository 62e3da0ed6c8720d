"""The error of a conversion: which instruction it is about."""

from __future__ import annotations

from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.tree import Range
from orlop.errors import InvalidArgument

__all__ = ["ConversionError", "located"]


class ConversionError(DockerfileError):
    """An instruction that could be parsed but makes no sense where it stands.

    `range` is its place, None for the whole Dockerfile; the message does not name it.
    """

    def __init__(self, message: str, range: Range | None = None) -> None:
        super().__init__(message)
        self.range = range


def located(error: InvalidArgument, range: Range) -> ConversionError:
    """Return `error` as one of the instruction at `range`, unless it has a place already."""
    if isinstance(error, ConversionError):
        return error
    return ConversionError(error.detail if isinstance(error, DockerfileError) else error.message, range)
