"""What a registry is told to know its user by, in the forms of Docker's API."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["INDEX_SERVER", "Auth", "host_of", "key_of"]

INDEX_SERVER = "https://index.docker.io/v1/"
"""Under this name, for historical reasons, the credentials of Docker Hub are kept."""


class Auth(NamedTuple):
    """The credentials of one registry; what is not known is empty."""

    username: str = ""
    password: str = ""
    email: str = ""
    server: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def body(self) -> dict[str, str]:
        """Return the JSON object that ``POST /auth`` takes."""
        fields = {
            "username": self.username,
            "password": self.password,
            "email": self.email,
            "serveraddress": self.server,
            "identitytoken": self.identity_token,
            "registrytoken": self.registry_token,
        }
        return {key: value for key, value in fields.items() if value}

    def header(self) -> str:
        """Return the value of ``X-Registry-Auth``: the same object in URL-safe base64."""
        from base64 import urlsafe_b64encode

        from orlop.formats.template import go_json

        return urlsafe_b64encode(go_json(self.body(), escape_html=True).encode()).decode()


def key_of(domain: str) -> str:
    """Return the name under which the credentials of a reference's domain are kept."""
    return INDEX_SERVER if domain in ("docker.io", "index.docker.io") else domain


def host_of(address: str) -> str:
    """Return host and port of a registry's address, which may be a URL."""
    if "://" in address:
        from urllib.parse import urlsplit

        parts = urlsplit(address)
        if parts.hostname:
            host = parts.netloc.rpartition("@")[2]
            return host if parts.port else parts.hostname
    return address.partition("/")[0]
