"""Credentials for a registry, as a client of the API sends them. They are never printed: not by repr, not by errors."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field

import msgspec

from orlop.errors import InvalidArgument

__all__ = ["Credentials", "parse_auth_header", "parse_credentials"]

_MAX_HEADER = 64 << 10


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's name and password, or the refresh token of an earlier login, or a token for the registry itself."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    server_address: str = ""

    def __bool__(self) -> bool:
        return bool(self.username or self.password or self.identity_token or self.registry_token)


class _AuthConfig(msgspec.Struct, rename={"identity_token": "identitytoken", "registry_token": "registrytoken"}):
    username: str | None = None
    password: str | None = None
    auth: str | None = None
    email: str | None = None
    serveraddress: str | None = None
    identity_token: str | None = None
    registry_token: str | None = None


def parse_auth_header(text: str) -> Credentials | None:
    """Parse ``X-Registry-Auth``: JSON in base64url, padded or not. None if it holds no credentials.

    Raises `InvalidArgument`; what was sent is not in its text.
    """
    if not text:
        return None
    if len(text) > _MAX_HEADER:
        raise InvalidArgument("invalid X-Registry-Auth header: too long")
    try:
        data = urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except (binascii.Error, ValueError):
        raise InvalidArgument("invalid X-Registry-Auth header: must be a valid base64url-encoded string") from None
    return parse_credentials(data, "invalid X-Registry-Auth header")


def parse_credentials(data: bytes, what: str) -> Credentials | None:
    """Parse the JSON that ``POST /auth`` and the header hold; `what` begins the error's text."""
    try:
        config = msgspec.json.decode(data, type=_AuthConfig) if data.strip() not in (b"", b"null") else _AuthConfig()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidArgument(f"{what}: invalid JSON") from None
    username, password = config.username or "", config.password or ""
    if config.auth and not username:
        username, password = _decode_pair(config.auth, what)
    credentials = Credentials(
        username=username,
        password=password,
        identity_token=config.identity_token or "",
        registry_token=config.registry_token or "",
        server_address=config.serveraddress or "",
    )
    return credentials or None


def _decode_pair(text: str, what: str) -> tuple[str, str]:
    try:
        pair = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        raise InvalidArgument(f"{what}: invalid auth") from None
    username, _, password = pair.partition(":")
    return username, password.strip("\0")
