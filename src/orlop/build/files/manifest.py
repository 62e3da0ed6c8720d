"""The manifest of a context: every file of it, by its path, with the digest of what it holds.

It is all that a build needs to know of a context to tell whether a step has to be done again; the contents lie in the
`ContextStore`. On the wire and on disk it is JSON lines, one entry each, sorted by the bytes of the paths.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from orlop.errors import InvalidArgument
from orlop.formats.tar.entry import Kind

__all__ = ["Item", "Manifest"]

_KINDS = {
    "file": Kind.FILE,
    "dir": Kind.DIRECTORY,
    "symlink": Kind.SYMLINK,
    "fifo": Kind.FIFO,
    "char": Kind.CHAR,
    "block": Kind.BLOCK,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_PATH = 4095  # bytes
_MAX_ITEMS = 2_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """A file of a context; `path` is relative and clean, `mtime` in ns, `digest` that of a regular file's content."""

    path: str
    kind: Kind = Kind.FILE
    mode: int = 0o644
    size: int = 0
    digest: str = ""
    target: str = ""
    mtime: int = 0
    capability: bytes = b""
    major: int = 0
    minor: int = 0

    def encode(self) -> bytes:
        """Return its line, with the newline."""
        fields: dict[str, Any] = {"path": self.path, "type": _NAMES[self.kind], "mode": self.mode}
        for name in ("size", "digest", "target", "mtime", "major", "minor"):
            if value := getattr(self, name):
                fields[name] = value
        if self.capability:
            fields["capability"] = base64.b64encode(self.capability).decode()
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


class Manifest:
    """The files of a context, sorted."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self.items = tuple(sorted(items, key=lambda item: item.path.encode(errors="surrogateescape")))

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Read what `encode` has written, or a client. Raises `InvalidArgument`."""
        items: list[Item] = []
        for number, line in enumerate(data.splitlines(), 1):
            if number > _MAX_ITEMS:
                raise InvalidArgument(f"the context has more than {_MAX_ITEMS} files")
            try:
                items.append(_item(json.loads(line)))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                raise InvalidArgument(f"invalid context, line {number}: {error}") from None
        manifest = cls(items)
        manifest._check()
        return manifest

    @cached_property
    def encoded(self) -> bytes:
        """The manifest as JSON lines."""
        return b"".join(item.encode() for item in self.items)

    @cached_property
    def id(self) -> str:
        """The digest of the encoded manifest, 64 hexadecimal digits."""
        return hashlib.sha256(self.encoded).hexdigest()

    @cached_property
    def digests(self) -> frozenset[str]:
        """The digests of all contents."""
        return frozenset(item.digest for item in self.items if item.digest)

    def kept(self, wanted: Callable[[str], bool]) -> Manifest:
        """Return the manifest of the files whose path is `wanted`, and of the directories that they are in."""
        taken = [item for item in self.items if wanted(item.path)]
        paths = {item.path for item in taken}
        above = {parent for path in paths for parent in _parents(path)} - paths
        return Manifest([*taken, *(item for item in self.items if item.path in above)])

    def _check(self) -> None:
        kinds = {item.path: item.kind for item in self.items}
        if len(kinds) != len(self.items):
            raise InvalidArgument("invalid context: a path is there twice")
        for path in kinds:
            parent = path.rpartition("/")[0]
            if parent and kinds.get(parent) is not Kind.DIRECTORY:
                raise InvalidArgument(f"invalid context: {parent!r}, which {path!r} is in, is no directory of it")


def _item(fields: dict[str, Any]) -> Item:
    path, kind = fields["path"], _KINDS[fields["type"]]
    mode, size, mtime, major, minor = (_number(fields, name) for name in ("mode", "size", "mtime", "major", "minor"))
    target = fields.get("target", "")
    if not isinstance(path, str) or any(part in ("", ".", "..") for part in path.split("/")) or not _fits(path):
        raise ValueError(f"not a path in the context: {path[:100]!r}")
    if not isinstance(target, str) or bool(target) is not (kind is Kind.SYMLINK) or not _fits(target):
        raise ValueError("not the target of a link")
    digest = fields["digest"] if kind is Kind.FILE else ""
    if kind is Kind.FILE and _DIGEST.fullmatch(digest) is None:
        raise ValueError("not the SHA-256 digest of a file")
    capability = base64.b64decode(fields.get("capability", ""), validate=True)
    return Item(path, kind, mode & 0o7777, size, digest, target, mtime, capability, major, minor)


def _number(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name, 0)
    if type(value) is not int or not (0 <= value < 1 << 63 or (name == "mtime" and -1 << 63 < value < 0)):
        raise ValueError(f"not a {name}: {str(value)[:100]}")
    return value


def _fits(text: str) -> bool:
    """Tell whether a text can be a path. Raises `ValueError` for one that no file system can have."""
    return "\0" not in text and len(text.encode(errors="surrogateescape")) <= _MAX_PATH


def _parents(path: str) -> Iterable[str]:
    while path := path.rpartition("/")[0]:
        yield path
