"""``--chmod``: octal (``0755``) or symbolic (``u=rwX,go=rX``, chmod(1))."""

from __future__ import annotations

import re
from dataclasses import dataclass

from orlop.errors import InvalidArgument

__all__ = ["Mode"]

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}
_SET_ID = {"u": 0o4000, "g": 0o2000}


@dataclass(frozen=True, slots=True)
class Mode:
    """What becomes of modes: `octal` for all, or clauses that change each. An empty text changes nothing."""

    text: str

    def __post_init__(self) -> None:
        if self.text and self.octal is None and not all(map(_CLAUSE.fullmatch, self.text.split(","))):
            raise InvalidArgument(
                f"invalid chmod parameter: '{self.text}'. it should be octal string and between 0 and 07777"
            )

    @property
    def octal(self) -> int | None:
        """The mode, if it is an octal number."""
        if re.fullmatch(r"[0-7]{1,5}", self.text) and int(self.text, 8) <= 0o7777:
            return int(self.text, 8)
        return None

    def applied(self, mode: int, *, directory: bool) -> int:
        """Return what becomes of one file's `mode`."""
        if not self.text:
            return mode
        if self.octal is not None:
            return self.octal
        for clause in self.text.split(","):
            found = _CLAUSE.fullmatch(clause)
            assert found is not None  # it was checked
            who = "ugo" if not found[1] or "a" in found[1] else found[1]
            for action in _ACTION.finditer(found[2]):
                mode = _changed(mode, who, action[1], action[2], directory)
        return mode


def _changed(mode: int, who: str, operator: str, what: str, directory: bool) -> int:
    bits = 0
    for one in who:
        shift = _SHIFTS[one]
        bits |= _permissions(mode, what, directory) << shift
        if "s" in what:
            bits |= _SET_ID.get(one, 0)
    if "t" in what:
        bits |= 0o1000
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    mask = sum(7 << _SHIFTS[one] | (0 if directory else _SET_ID.get(one, 0)) for one in who)
    if "o" in who and "u" in who and "g" in who:
        mask |= 0o1000
    return mode & ~mask | bits


def _permissions(mode: int, what: str, directory: bool) -> int:
    if what in _SHIFTS:
        return mode >> _SHIFTS[what] & 7
    permissions = sum({_BITS[letter] for letter in what if letter in _BITS})
    if "X" in what and (directory or mode & 0o111):
        permissions |= 1
    return permissions
