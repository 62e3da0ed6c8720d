"""`POST /auth`: try credentials at a registry (`docker login`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from orlop.engine.images import registries
from orlop.errors import InvalidArgument
from orlop.registry.client.credentials import parse_credentials
from orlop.registry.client.mirrors import HUB

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["authenticate", "server_host"]

Json = dict[str, Any]


class _Address(msgspec.Struct):
    serveraddress: str | None = None


async def authenticate(engine: Engine, body: bytes) -> Json:
    """Try the credentials of the JSON `body`; return Docker's answer, with the token to be used from now on if any.

    Raises `Unauthorized` and other errors with dockerd's words. The daemon keeps nothing of it.
    """
    credentials = parse_credentials(body, "invalid credentials")
    address = msgspec.json.decode(body, type=_Address).serveraddress if body.strip() not in (b"", b"null") else ""
    async with registries.client(engine, credentials) as client:
        token = await client.login(server_host(address or ""))
    return {"Status": "Login Succeeded", "IdentityToken": token}


def server_host(address: str) -> str:
    """Return the registry that a login's address means: a host, or a URL of one. Raises `InvalidArgument`."""
    if not address:
        return HUB
    url = address if address.startswith(("https://", "http://")) else f"https://{address}"
    try:
        host = urlsplit(url).netloc
    except ValueError:
        host = ""
    if not host or "@" in host:
        raise InvalidArgument(f"unable to parse server address: {address[:256]!r}")
    return host
