"""The query of a request, read as dockerd reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qs

from orlop.errors import InvalidArgument
from orlop.formats.filters import Filters

__all__ = ["Query"]

_FALSE = ("", "0", "no", "false", "none")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_MAX_INTEGER = (1 << 63) - 1
_MAX_UNSIGNED = (1 << 32) - 1


class Query:
    """The fields of a query; of a field that is given twice the first counts.

    Raises `InvalidArgument` for a NUL character, which no field may hold: most end up in system calls.
    """

    __slots__ = ("_fields",)

    def __init__(self, text: str) -> None:
        self._fields: Mapping[str, list[str]] = parse_qs(text, keep_blank_values=True) if text else {}
        if any("\0" in value for values in self._fields.values() for value in values):
            raise InvalidArgument("invalid query: it holds a NUL character")

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def text(self, name: str) -> str:
        """Return a field, empty when it is absent."""
        return self._fields[name][0] if name in self._fields else ""

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of a field."""
        return tuple(self._fields.get(name, ()))

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a truth value: nothing, 0, no, false and none (in any case) are false, all else is true."""
        if name not in self._fields:
            return default
        return self.text(name).strip().lower() not in _FALSE

    def integer(self, name: str) -> int | None:
        """Return a number, None when it is absent or empty. Raises `InvalidArgument`."""
        text = self.text(name)
        if not text:
            return None
        if not _INTEGER.fullmatch(text):
            raise InvalidArgument(f'strconv.Atoi: parsing "{text}": invalid syntax')
        if abs(int(text)) > _MAX_INTEGER:
            raise InvalidArgument(f'strconv.Atoi: parsing "{text}": value out of range')
        return int(text)

    def size(self, name: str, what: str) -> int:
        """Return a number of 32 bits that must be there; `what` it is stands in the error, an `InvalidArgument`."""
        text = self.text(name)
        digits = text.removeprefix("-")
        if not digits.isascii() or not digits.isdigit():
            raise InvalidArgument(f'invalid {what} "{text}": invalid syntax')
        if digits != text or len(digits) > 10 or int(digits) > _MAX_UNSIGNED:
            raise InvalidArgument(f'invalid {what} "{text}": value out of range')
        return int(digits)

    def filters(self, allowed: Iterable[str]) -> Filters:
        """Return the field ``filters``. Raises `InvalidArgument` for a key that is not allowed."""
        return Filters.parse(self.text("filters"), allowed)
