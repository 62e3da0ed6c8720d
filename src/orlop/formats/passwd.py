"""/etc/passwd and /etc/group of a container (passwd(5), group(5)), and who a ``user[:group]`` is by them.

The files are hostile input: a line that cannot be read is skipped. The rules and the messages are Docker's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["Group", "Passwd", "User", "UserError", "groups", "home_of", "resolve", "resolve_groups", "users"]

MAX_ID = (1 << 31) - 1


class UserError(Exception):
    """There is no such user or group."""


class Passwd(NamedTuple):
    """A line of /etc/passwd, as far as it is needed."""

    name: str
    uid: int
    gid: int
    home: str


class Group(NamedTuple):
    """A line of /etc/group."""

    name: str
    gid: int
    members: tuple[str, ...]


class User(NamedTuple):
    """Who a process is to be; `groups` are the supplementary ones."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def users(text: str) -> Iterator[Passwd]:
    """Yield the lines of a passwd file that can be read."""
    for fields in _lines(text, 4):
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is not None and gid is not None:
            yield Passwd(fields[0], uid, gid, fields[5] if len(fields) > 5 else "")


def groups(text: str) -> Iterator[Group]:
    """Yield the lines of a group file that can be read."""
    for fields in _lines(text, 3):
        gid = _number(fields[2])
        if gid is not None:
            members = fields[3].split(",") if len(fields) > 3 else ()
            yield Group(fields[0], gid, tuple(name.strip() for name in members if name.strip()))


def resolve(spec: str, passwd: str, group: str) -> User:
    """Return who ``user``, ``uid``, ``user:group``… is; an empty `spec` is user 0.

    A number is always an id and need not be in the files. With a group given there are no supplementary groups.
    Raises `UserError`.
    """
    user_part, _, group_part = spec.partition(":")
    number = _number(user_part) if user_part else 0
    found = _find_user(user_part, number, passwd)
    if found is None and number is None:
        raise UserError(f"unable to find user {user_part}: no matching entries in passwd file")
    uid, gid, home = (found.uid, found.gid, found.home) if found else (number or 0, 0, "")
    supplementary: tuple[int, ...] = ()
    if group_part:
        gid = _group(group_part, group, f"unable to find group {group_part}: no matching entries in group file")
    elif found:
        supplementary = tuple(dict.fromkeys(entry.gid for entry in groups(group) if found.name in entry.members))
    _check_range(uid, gid, *supplementary)
    return User(uid, gid, supplementary, home)


def resolve_groups(names: Iterable[str | int], group: str) -> tuple[int, ...]:
    """Return the ids of groups given by name or number. Raises `UserError`."""
    ids = tuple(_group(str(name), group, f"Unable to find group {name}") for name in names)
    _check_range(*ids)
    return ids


def home_of(uid: int, passwd: str) -> str:
    """Return the home directory of a user; ``/`` if the file does not tell."""
    return next((entry.home for entry in users(passwd) if entry.uid == uid and entry.home), "/")


def _find_user(name: str, number: int | None, passwd: str) -> Passwd | None:
    if number is not None:
        return next((entry for entry in users(passwd) if entry.uid == number), None)
    return next((entry for entry in users(passwd) if entry.name == name), None)


def _group(name: str, group: str, message: str) -> int:
    number = _number(name)
    if number is not None:
        return number
    for entry in groups(group):
        if entry.name == name:
            return entry.gid
    raise UserError(message)


def _check_range(*ids: int) -> None:
    if any(not 0 <= number <= MAX_ID for number in ids):
        raise UserError(f"uids and gids must be in range 0-{MAX_ID}")


def _lines(text: str, least: int) -> Iterator[list[str]]:
    for line in text.split("\n"):
        fields = line.strip().split(":")
        if len(fields) >= least and fields[0]:
            yield fields


def _number(text: str) -> int | None:
    """Return the number that `text` is in plain decimal digits, maybe with a sign, as Go's Atoi reads it."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits.isascii() or not digits.isdigit() or len(digits) > 19:
        return None
    return int(text)
