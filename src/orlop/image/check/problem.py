"""What a check finds wrong."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Problem"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be.

    `kind` is what `name` is: a blob, layer, image, name, container, volume, file, or the database. `remedy` says what
    a user can do where mending cannot.
    """

    kind: str
    name: str
    message: str
    details: tuple[str, ...] = ()
    remedy: str = ""
