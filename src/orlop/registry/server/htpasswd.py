"""Users and the hashes of their passwords, in the form of Apache's htpasswd(1); bcrypt only. Pure."""

from __future__ import annotations

import base64
import binascii
import re

from orlop.errors import InvalidArgument

__all__ = ["parse_basic", "parse_users"]

_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}", re.ASCII)
_FORMER = {"$apr1$": "MD5 (apr1)", "{SHA}": "SHA-1", "$1$": "MD5", "$5$": "SHA-256", "$6$": "SHA-512"}


def parse_users(text: str) -> dict[str, bytes]:
    """Return the hashes by user. Raises `InvalidArgument` for a line that is no bcrypt entry, with its number."""
    users: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        user, colon, hashed = line.strip().partition(":")
        if not colon or not user:
            raise InvalidArgument(f"line {number} is not USER:HASH")
        if not _BCRYPT.fullmatch(hashed):
            kind = next((name for mark, name in _FORMER.items() if hashed.startswith(mark)), "another scheme")
            raise InvalidArgument(
                f"line {number}: the password of {user} is not hashed with bcrypt but with {kind}, which is too weak: "
                f"set it again with `htpasswd -B`"
            )
        users.setdefault(user, hashed.encode())
    return users


def parse_basic(header: str) -> tuple[str, bytes] | None:
    """Return user and password of an Authorization header (RFC 7617), None if it is no such thing."""
    scheme, _, value = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(value.strip(), validate=True)
    except binascii.Error:
        return None
    user, colon, password = decoded.partition(b":")
    return (user.decode(errors="replace"), password) if colon else None
