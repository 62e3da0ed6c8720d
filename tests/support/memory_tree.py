"""A tree of files in memory, to be copied from or copied onto, and what a layer's archive makes of it."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace

from orlop.build.files.copy import copy
from orlop.build.files.layout import Layout
from orlop.build.files.trees import Found, resolved
from orlop.build.graph import CopyFiles
from orlop.formats.tar.entry import Kind
from orlop.formats.tar.output import TarOutput

__all__ = ["MemoryTree", "copied", "layer_of"]


class MemoryTree:
    """Files by their paths: bytes are a file, a text is the target of a link, None a directory, or what was found."""

    def __init__(self, files: dict[str, bytes | str | Found | None] | None = None, *, has_owners: bool = True) -> None:
        self.has_owners = has_owners
        self.read = 0
        self._contents: dict[str, bytes] = {}
        self._found = {"": Found("", Kind.DIRECTORY)}
        for path, what in (files or {}).items():
            self._add(path, what)

    def _add(self, path: str, what: bytes | str | Found | None) -> None:
        parts = path.split("/")
        for end in range(1, len(parts)):
            parent = "/".join(parts[:end])
            self._found.setdefault(parent, Found(parent, Kind.DIRECTORY))
        if isinstance(what, Found):
            self._found[path] = replace(what, path=path)
            self._contents[path] = b"x" * what.size
        elif isinstance(what, bytes):
            self._found[path] = Found(path, Kind.FILE, 0o644, size=len(what))
            self._contents[path] = what
        elif what is None:
            self._found[path] = Found(path, Kind.DIRECTORY)
        else:
            self._found[path] = Found(path, Kind.SYMLINK, 0o777, target=what)

    def look(self, path: str) -> Found | None:
        return self._found.get(path)

    def resolve(self, path: str) -> str | None:
        return resolved(self, path)

    def names(self, path: str) -> Sequence[str]:
        inside = f"{path}/" if path else ""
        return sorted(
            other.removeprefix(inside)
            for other in self._found
            if other and other.startswith(inside) and "/" not in other.removeprefix(inside)
        )

    def open(self, found: Found) -> int:
        fd = os.memfd_create("file")
        os.write(fd, self._contents[found.path])
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def digest(self, found: Found) -> str:
        self.read += 1
        return f"sha256:{hashlib.sha256(self._contents[found.path]).hexdigest()}"


def layer_of(base: MemoryTree, work: Callable[[Layout], None], latest: int | None = None) -> list[tarfile.TarInfo]:
    """Return the members of the layer that `work` makes above a base, in order."""
    data = io.BytesIO()
    output = TarOutput(lambda block: data.write(block) and None)
    work(Layout(base, output, latest))
    output.finish()
    data.seek(0)
    with tarfile.open(fileobj=data) as archive:
        return archive.getmembers()


def copied(base: MemoryTree, source: MemoryTree, action: CopyFiles) -> dict[str, tarfile.TarInfo]:
    """Return the members of the layer that a copy makes, the last one of each name."""
    members = layer_of(base, lambda layout: copy(layout, base, source, action, lambda: None))
    return {member.name: member for member in members}
