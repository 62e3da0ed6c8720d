"""``--chown``: who a user and a group are, by the files of the base."""

from __future__ import annotations

import os

from orlop.build.files.trees import Tree
from orlop.errors import InvalidArgument
from orlop.formats import passwd
from orlop.formats.tar.entry import Kind

__all__ = ["OWNER_FILES", "needs_files", "owner_of", "read_file"]

OWNER_FILES = ("etc/passwd", "etc/group")
_ROOT_USER, _ROOT_GROUP = "\nroot:x:0:0:root:/root:/bin/sh\n", "\nroot:x:0:\n"
_MOST = 1 << 20  # bytes that are read of them


def needs_files(owner: str) -> bool:
    """Tell whether an owner has names in it, so that the base's files count."""
    return any(part and not part.isdecimal() for part in owner.split(":", 1))


def owner_of(owner: str, base: Tree) -> tuple[int, int]:
    """Return uid and gid of ``user[:group]``; a number alone is both, and root is 0 where no file says otherwise.

    Raises `InvalidArgument`.
    """
    user, _, group = owner.partition(":")
    users, groups = (read_file(base, path) for path in OWNER_FILES) if needs_files(owner) else ("", "")
    try:
        found = passwd.resolve(owner, users + _ROOT_USER, groups + _ROOT_GROUP)
    except passwd.UserError as error:
        raise InvalidArgument(f"invalid owner {owner!r}: {error}") from None
    if not group and user.isdecimal():
        return found.uid, found.uid
    return found.uid, found.gid


def read_file(base: Tree, path: str) -> str:
    """Return the text of a file that may be anything; "" if it is no regular file."""
    place = base.resolve(path)
    found = base.look(place) if place else None
    if found is None or found.kind is not Kind.FILE:
        return ""
    fd = base.open(found)
    try:
        return os.read(fd, _MOST).decode(errors="replace")
    finally:
        os.close(fd)
