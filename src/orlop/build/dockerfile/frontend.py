"""Frontends: ``# syntax=docker/dockerfile:1`` and its versions are this parser, every other one is refused.

What is implemented is the language of docker/dockerfile 1.19 with its labs.
"""

from __future__ import annotations

import re

from orlop.errors import InvalidArgument
from orlop.formats import reference

__all__ = ["check_frontend"]

_SERVED = frozenset(("docker.io/docker/dockerfile", "docker.io/docker/dockerfile-upstream"))
_IMPLEMENTED = (1, 19)
_VERSION = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:\.[0-9]+)?(?:-.*)?")


def check_frontend(syntax: str) -> str | None:
    """Return a warning if `syntax`, a frontend's image, is newer than what is implemented, else None.

    A tag that is no version (``labs``, ``latest``) and a digest say nothing of newer. Raises `InvalidArgument` for the
    image of another frontend.
    """
    try:
        wanted = reference.parse(syntax)
    except InvalidArgument as error:
        raise InvalidArgument(f"failed to parse frontend image reference {syntax}: {error.message}") from None
    if wanted.name not in _SERVED:
        raise InvalidArgument(f"frontend {syntax} is not supported: only docker/dockerfile is, which is built in")
    version = _VERSION.fullmatch(wanted.tag)
    if version is None or (int(version[1]), int(version[2] or 0)) <= _IMPLEMENTED:
        return None
    implemented = ".".join(map(str, _IMPLEMENTED))
    return f"{syntax} is newer than the built-in frontend, which implements docker/dockerfile:{implemented}"
