"""Image references: ``[domain/]path[:tag][@digest]``, in the grammar and with the defaults of Docker.

A reference without a domain is of ``docker.io``, one of a single word there of ``library/``. *Canonical* is the whole
form (``docker.io/library/busybox:latest``), *familiar* the short one that people read (``busybox:latest``).
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, replace

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest

__all__ = ["DEFAULT_TAG", "Reference", "check_tag", "is_path", "is_tag", "parse"]

DEFAULT_TAG = "latest"
_DEFAULT_DOMAIN = "docker.io"
_OLD_DEFAULT_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_MAX_NAME = 255

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG = r"\w[\w.-]{0,127}"
_REFERENCE = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)(?::(?P<tag>{_TAG}))?(?:@(?P<digest>[^@]+))?",
    re.ASCII,
)
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_WHOLE_TAG = re.compile(_TAG, re.ASCII)
_ID = re.compile(r"[a-f0-9]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """A parsed reference; `tag` is empty and `digest` None where it has none."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """The repository: ``docker.io/library/busybox``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as people write it: ``busybox``."""
        if self.domain != _DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in rest else rest

    def canonical(self) -> str:
        """Return the whole form, by which the store keeps it."""
        return self.name + self._suffix()

    def familiar(self) -> str:
        """Return the short form, which `parse` reads back to the same reference."""
        return self.familiar_name + self._suffix()

    def tagged(self) -> Reference:
        """Return this reference with the tag ``latest`` if it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def matches(self, pattern: str) -> bool:
        """Tell whether the shell pattern (of `docker images --filter reference=`) is of this name, tag or not."""
        return _path_match(pattern, self.familiar()) or _path_match(pattern, self.familiar_name)

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag


def parse(text: str) -> Reference:
    """Parse what a user wrote or the canonical form. Raises `InvalidArgument` with Docker's words."""
    if _ID.fullmatch(text):
        raise InvalidArgument(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, remainder = _split_domain(text)
    path = remainder.partition(":")[0]
    if path.lower() != path:
        raise InvalidArgument(f"invalid reference format: repository name ({path}) must be lowercase")
    match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if match is None:
        raise InvalidArgument("invalid reference format")
    if len(match["path"]) > _MAX_NAME:
        raise InvalidArgument(f"repository name must not be more than {_MAX_NAME} characters")
    digest = Digest.parse(match["digest"]) if match["digest"] else None
    return Reference(match["domain"], match["path"], match["tag"] or "", digest)


def check_tag(tag: str) -> str:
    """Return `tag` if it is one. Raises `InvalidArgument`."""
    if not _WHOLE_TAG.fullmatch(tag):
        raise InvalidArgument("invalid tag format")
    return tag


def is_path(text: str) -> bool:
    """Tell whether `text` is a repository's name as a registry knows it, without a domain."""
    return len(text) <= _MAX_NAME and _PATH.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Tell whether `text` is a tag."""
    return _WHOLE_TAG.fullmatch(text) is not None


def _split_domain(text: str) -> tuple[str, str]:
    """Part the registry from the repository: a first word is one if it looks like a host name."""
    first, slash, rest = text.partition("/")
    if not slash:
        return _DEFAULT_DOMAIN, _OFFICIAL + text
    if first == _OLD_DEFAULT_DOMAIN:
        first = _DEFAULT_DOMAIN
    elif first != "localhost" and not any(mark in first for mark in ".:") and first.lower() == first:
        first, rest = _DEFAULT_DOMAIN, text
    if first == _DEFAULT_DOMAIN and "/" not in rest:
        rest = _OFFICIAL + rest
    return first, rest


def _path_match(pattern: str, text: str) -> bool:
    """Match component by component: ``*`` does not cross a slash."""
    patterns, words = pattern.split("/"), text.split("/")
    return len(patterns) == len(words) and all(map(fnmatch.fnmatchcase, words, patterns))
