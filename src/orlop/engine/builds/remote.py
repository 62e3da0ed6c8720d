"""Contexts that the daemon fetches itself: a Git repository, a tar, or a Dockerfile alone."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.build.convert.base import git_input
from orlop.build.files.archive import is_archive
from orlop.build.files.fetch import Fetched, fetch, without_password
from orlop.build.files.git import checkout
from orlop.build.files.manifest import Item, Manifest
from orlop.build.files.store import ContextStore
from orlop.build.graph import Url
from orlop.errors import Error, InvalidArgument
from orlop.formats import git_reference
from orlop.formats.tar.entry import Kind

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["Remote", "fetch_remote"]

MAX_DOCKERFILE = 16 << 20
_BLOCK = 1 << 20
_MAX_FILES = 2_000_000


@dataclass(frozen=True, slots=True)
class Remote:
    """What was fetched: a context, or the text of a Dockerfile. `whole` says that nobody left out what is ignored."""

    manifest: Manifest
    dockerfile: bytes | None = None
    whole: bool = False


class _Silent:
    """A sink for whom nobody looks."""

    def output(self, stream: int, data: bytes) -> None:
        pass

    def container(self, container_id: str) -> None:
        pass

    def transfer(self, id: str, current: int, total: int, *, done: bool = False) -> None:
        pass


async def fetch_remote(engine: Engine, address: str) -> Remote:
    """Fetch the context at `address`. Raises `errors.Error`."""
    store, scratch = engine.builds.contexts.store, engine.images.scratch
    git = git_reference.parse(address, context=True)
    if git is not None:
        found = await checkout(git_input(git), scratch)
        try:
            return Remote(await asyncio.to_thread(_manifest, store, found.path), whole=True)
        finally:
            scratch.discard(found.path)
    if not address.startswith(("http://", "https://")):
        raise InvalidArgument(f"remoteURL ({address}) could not be recognized as URL")
    shown = without_password(address)
    try:
        fetched = await fetch(Url(address, ""), store, _Silent())
    except Error as error:
        raise Error(f"error downloading remote context {shown}: {error.message}") from error
    try:
        return await asyncio.to_thread(_file, store, fetched, shown)
    finally:
        fetched.release()


def _file(store: ContextStore, fetched: Fetched, address: str) -> Remote:
    """Return what a file is by what it holds: an archive, or else text."""
    with open(fetched.open(), "rb", buffering=0) as file:
        if is_archive(file.fileno()):
            file.seek(0)
            return Remote(store.take_tar(lambda: file.read(_BLOCK)).manifest)
        file.seek(0)
        data = file.read(MAX_DOCKERFILE + 1)
    if not data:
        raise InvalidArgument(f"error detecting content type for remote {address}: empty response")
    if b"\0" in data or len(data) > MAX_DOCKERFILE:
        raise InvalidArgument(f"remote context {address} is neither an archive nor a Dockerfile")
    return Remote(Manifest(()), data)


def _manifest(store: ContextStore, root: Path) -> Manifest:
    """Take a directory, in which nobody writes, as a context."""
    items: list[Item] = []
    pending = [""]
    while pending:
        directory = pending.pop()
        with os.scandir(root / directory) as entries:
            for entry in entries:
                path = f"{directory}/{entry.name}" if directory else entry.name
                item = _item(store, path, entry)
                if item is not None:
                    items.append(item)
                if item is not None and item.kind is Kind.DIRECTORY:
                    pending.append(path)
        if len(items) > _MAX_FILES:
            raise InvalidArgument(f"the context has more than {_MAX_FILES} files")
    return Manifest(items)


def _item(store: ContextStore, path: str, entry: os.DirEntry[str]) -> Item | None:
    status = entry.stat(follow_symlinks=False)
    mode, mtime = stat.S_IMODE(status.st_mode), status.st_mtime_ns
    if entry.is_symlink():
        return Item(path, Kind.SYMLINK, 0o777, target=os.readlink(entry.path), mtime=mtime)
    if entry.is_dir():
        return Item(path, Kind.DIRECTORY, mode, mtime=mtime)
    if not entry.is_file():
        return None
    with open(entry.path, "rb", buffering=0) as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if not store.known(digest):
            file.seek(0)
            store.put(digest, status.st_size, lambda: file.read(_BLOCK))
    return Item(path, Kind.FILE, mode, status.st_size, digest, mtime=mtime)
