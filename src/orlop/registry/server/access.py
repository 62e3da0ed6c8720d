"""Who may use a registry: everybody, or the users of a password file.

bcrypt is slow by design, and a push makes hundreds of requests: a password that was right is remembered, as a keyed
hash, as long as its entry in the file stays the same. Two are checked at a time, so that guessing takes one's own time
and not the server's.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

from orlop.errors import InvalidArgument
from orlop.registry.server.failure import Failure
from orlop.registry.server.htpasswd import parse_basic, parse_users

__all__ = ["Access", "Everybody", "Users"]

log = logging.getLogger(__name__)

_REMEMBERED = 1024
_AT_ONCE = 2
_LONGEST = 72  # bytes of a password that bcrypt looks at
_MAX_FILE = 16 << 20


class Access(Protocol):
    """Decides about requests."""

    async def admit(self, authorization: str | None) -> str:
        """Return the user's name. Raises `Failure` (401)."""


class Everybody:
    """No passwords."""

    async def admit(self, authorization: str | None) -> str:
        return ""


class Users:
    """The users of the file `path`, which is read again when it changes. Raises `InvalidArgument` if it is no good."""

    def __init__(self, path: Path, realm: str) -> None:
        import bcrypt

        self._bcrypt = bcrypt
        self._path = path
        self._challenge = 'Basic realm="{}"'.format(realm.replace("\\", "\\\\").replace('"', '\\"'))
        self._key = os.urandom(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._nobody = bcrypt.hashpw(b"nobody", bcrypt.gensalt(5))  # who is not there takes as long as who is
        self._state: tuple[int, int, int] | None = None
        self._users = self._read()

    async def admit(self, authorization: str | None) -> str:
        given = parse_basic(authorization or "")
        if given is None:
            raise self._refused()
        user, password = given
        self._read_again()
        hashed = self._users.get(user)
        key = hmac.digest(self._key, b"\0".join((user.encode(), hashed or b"", password)), hashlib.sha256)
        if hashed is not None and key in self._right:
            self._right.move_to_end(key)
            return user
        async with self._turns:
            matches = await asyncio.to_thread(self._matches, password, hashed or self._nobody)
        if hashed is None or not matches:
            log.warning("wrong user or password", extra={"user": user[:64]})
            raise self._refused()
        self._right[key] = None
        if len(self._right) > _REMEMBERED:
            self._right.popitem(last=False)
        return user

    def _matches(self, password: bytes, hashed: bytes) -> bool:
        try:
            return self._bcrypt.checkpw(password[:_LONGEST], hashed)
        except ValueError:  # a password with a NUL
            return False

    def _refused(self) -> Failure:
        return Failure("UNAUTHORIZED", headers={"WWW-Authenticate": self._challenge})

    def _read(self) -> dict[str, bytes]:
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                users = parse_users(file.read(_MAX_FILE).decode())
        except OSError as error:
            raise InvalidArgument(f"cannot read the password file {self._path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise InvalidArgument(f"the password file {self._path} is not text") from None
        except InvalidArgument as error:
            raise InvalidArgument(f"the password file {self._path}: {error}") from None
        self._state = (status.st_ino, status.st_size, status.st_mtime_ns)
        return users

    def _read_again(self) -> None:
        """Read the file if it has changed; while it is no good, what it held before stays in force."""
        try:
            status = self._path.stat()
            if (status.st_ino, status.st_size, status.st_mtime_ns) != self._state:
                self._users = self._read()
                log.info("password file read again", extra={"users": len(self._users)})
        except OSError as error:
            self._complain(f"cannot read the password file {self._path}: {error.strerror}")
        except InvalidArgument as error:
            self._complain(error.message)

    def _complain(self, problem: str) -> None:
        log.error("%s; the users that it had before stay", problem)
