"""``--chmod``: octal (``0755``) or symbolic (``u=rwX,go=rX``), read as BuildKit does, which is as BSD's setmode(3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from orlop.errors import InvalidArgument

__all__ = ["Mode"]

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=][rwxXstugo]*)+)")
_ACTION = re.compile(r"([-+=])([rwxXstugo]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o0007, "a": 0o6777}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}
_ALL = 0o6777
_OTHERS = 0o0007
_SET_ID = 0o6000
_STICKY = 0o1000
_EXECUTE = 0o111
_DIRECTORY = 0o755


@dataclass(frozen=True, slots=True)
class _Action:
    """One operator with what follows it, for those that `who` has the bits of; 0 is everyone."""

    who: int
    operator: str
    what: str


class Mode:
    """What becomes of modes: `octal` for all, or actions that change each. An empty text changes nothing."""

    def __init__(self, text: str) -> None:
        self.text = text
        if text and self.octal is None and not all(map(_CLAUSE.fullmatch, text.split(","))):
            raise InvalidArgument(
                f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
            )

    @cached_property
    def octal(self) -> int | None:
        """The mode, if it is an octal number."""
        if re.fullmatch(r"[0-7]{1,11}", self.text) and int(self.text, 8) <= 0o7777:
            return int(self.text, 8)
        return None

    @property
    def made(self) -> int:
        """The mode of directories that are made on the way to a destination."""
        return _DIRECTORY if self.octal is None else self.octal & 0o777

    def applied(self, mode: int, *, directory: bool) -> int:
        """Return what becomes of one file's `mode`."""
        if self.octal is not None:
            return self.octal
        executable = directory or bool(mode & _EXECUTE)
        for action in self._actions:
            mode = _changed(mode, action, executable)
        return mode

    @cached_property
    def _actions(self) -> tuple[_Action, ...]:
        return tuple(_actions(self.text)) if self.text else ()


def _actions(text: str) -> Iterator[_Action]:
    for clause in text.split(","):
        found = _CLAUSE.fullmatch(clause)
        assert found is not None  # it was checked
        who = 0
        for letter in found[1]:
            who |= _WHO[letter]
        for action in _ACTION.finditer(found[2]):
            yield _Action(who, action[1], action[2])


def _changed(mode: int, action: _Action, executable: bool) -> int:
    who, operator, what = action.who, action.operator, action.what
    bits = 0
    for letter in what:
        bits |= _BITS.get(letter, 0)
    if who != _OTHERS:  # others have neither of these bits
        bits |= _SET_ID if "s" in what else 0
        if "t" in what:
            bits |= _STICKY
            who |= _STICKY
    copied = [letter for letter in what if letter in _SHIFTS]
    if operator == "=" and (bits or not copied):
        mode &= ~(who or _ALL)
    bits &= who or ~0
    mode = mode & ~bits if operator == "-" else mode | bits
    for letter in copied:
        mode = _copied(mode, who, operator, mode >> _SHIFTS[letter] & 7)
    if "X" in what and executable:
        bits = _EXECUTE & (who or ~0)
        mode = mode & ~bits if operator == "-" else mode | bits
    return mode


def _copied(mode: int, who: int, operator: str, value: int) -> int:
    """Give the permissions `value` to all that `who` means; the set-id bits stay as they are."""
    for shift in _SHIFTS.values():
        if who and not who & 4 << shift:
            continue
        if operator == "=":
            mode &= ~(7 << shift)
        mode = mode & ~(value << shift) if operator == "-" else mode | value << shift
    return mode
