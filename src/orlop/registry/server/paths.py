"""From a request's path to what it is about: pure.

Names have slashes, so a path is read from its end: ``/v2/<name>/blobs/<digest>``. It is decoded once, and the grammars
of names, tags, digests and uploads admit neither ``..`` nor anything else that a file system would take otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, unquote

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.formats.reference import is_path, is_tag
from orlop.registry.server.failure import Failure

__all__ = ["Kind", "Target", "digest_of", "parse"]

Kind = Literal["root", "base", "catalog", "uploads", "upload", "blob", "manifest", "tags", "referrers"]

_MAX_PARAMETERS = 32
_FORMS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("root", re.compile(r"/?")),
    ("base", re.compile(r"/v2/?")),
    ("catalog", re.compile(r"/v2/_catalog")),
    ("uploads", re.compile(r"/v2/(?P<name>.+)/blobs/uploads/?", re.DOTALL)),
    ("upload", re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<item>[^/]+)", re.DOTALL)),
    ("blob", re.compile(r"/v2/(?P<name>.+)/blobs/(?P<item>[^/]+)", re.DOTALL)),
    ("manifest", re.compile(r"/v2/(?P<name>.+)/manifests/(?P<item>[^/]+)", re.DOTALL)),
    ("tags", re.compile(r"/v2/(?P<name>.+)/tags/list", re.DOTALL)),
    ("referrers", re.compile(r"/v2/(?P<name>.+)/referrers/(?P<item>[^/]+)", re.DOTALL)),
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about. `name` is a valid repository name where the kind has one; `item` is as it came."""

    kind: Kind
    name: str = ""
    item: str = ""
    parameters: tuple[tuple[str, str], ...] = ()

    def parameter(self, name: str) -> str | None:
        """Return the first value of a query parameter, None if it is not given."""
        return next((value for key, value in self.parameters if key == name), None)

    def all(self, name: str) -> list[str]:
        """Return all values of a query parameter."""
        return [value for key, value in self.parameters if key == name]

    @property
    def digest(self) -> Digest:
        """The item as a digest. Raises `Failure`."""
        return digest_of(self.item)

    @property
    def reference(self) -> str | Digest:
        """The item as a tag, or as a digest where it has a colon. Raises `Failure`."""
        if ":" in self.item:
            return self.digest
        if not is_tag(self.item):
            raise Failure("TAG_INVALID", "invalid tag", detail={"tag": self.item[:256]}, status=404)
        return self.item


def parse(raw_path: str) -> Target | None:
    """Return what a request's path and query are about, None if it is no path of this API. Raises `Failure`."""
    raw, _, query = raw_path.partition("?")
    path = unquote(raw, errors="replace")
    for kind, form in _FORMS:
        match = form.fullmatch(path)
        if match is not None:
            parts = match.groupdict()
            name = parts.get("name", "")
            if name and not is_path(name):
                raise Failure("NAME_INVALID", detail={"name": name[:256]})
            return Target(kind, name, parts.get("item", ""), _parameters(query))
    return None


def _parameters(query: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS))
    except ValueError:
        raise Failure("UNSUPPORTED", "too many query parameters", status=400) from None


def digest_of(text: str) -> Digest:
    """Return the digest that a client wrote. Raises `Failure`."""
    try:
        return Digest.parse(text)
    except InvalidArgument as error:
        raise Failure("DIGEST_INVALID", error.message, detail={"digest": text[:256]}) from None
