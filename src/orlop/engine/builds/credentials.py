"""The credentials of a build: one for each registry, as ``X-Registry-Config`` has them."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from orlop.formats.reference import Reference

__all__ = ["Keyring"]

_MAX_HEADER = 256 << 10
_HUB = "docker.io"
_HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = ("index.docker.io", "registry-1.docker.io", _HUB)


class Keyring:
    """What a client knows of registries. It is never printed."""

    def __init__(self, configs: dict[str, Any]) -> None:
        self._configs = {name: value for name, value in configs.items() if isinstance(value, dict)}

    @classmethod
    def parse(cls, header: str) -> Keyring:
        """Return what the header holds; one that makes no sense holds nothing, as dockerd takes it."""
        if not header or len(header) > _MAX_HEADER:
            return cls({})
        text = header.rstrip("=")
        try:
            value = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (ValueError, RecursionError):
            return cls({})
        return cls(value if isinstance(value, dict) else {})

    def header(self, image: Reference) -> str:
        """Return the ``X-Registry-Auth`` for the registry of an image, "" if nothing is known of it."""
        found = self._find(image.domain)
        return "" if found is None else urlsafe_b64encode(json.dumps(found).encode()).decode()

    def _find(self, domain: str) -> dict[str, Any] | None:
        exact = self._configs.get(_HUB_KEY if domain == _HUB else domain)
        if exact is not None:
            return exact
        hosts = _HUB_HOSTS if domain == _HUB else (domain,)
        return next((value for name, value in self._configs.items() if _host(name) in hosts), None)


def _host(name: str) -> str:
    """Return the registry that a key means, which may be a URL."""
    return name.removeprefix("https://").removeprefix("http://").partition("/")[0]
