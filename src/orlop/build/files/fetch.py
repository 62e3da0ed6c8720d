"""Fetching a URL for ADD: a file with the time that the server tells, its checksum verified where one was given."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orlop.build.files.trees import Found
from orlop.build.graph import Url
from orlop.build.worker import Sink
from orlop.errors import InvalidArgument, Unavailable
from orlop.formats.tar.entry import Kind
from orlop.image.scratch import Scratch

__all__ = ["Fetched", "fetch"]

_MOST_BYTES = 64 << 30
_BLOCK = 256 << 10
_CONNECT_SECONDS = 30.0
_SILENCE_SECONDS = 60.0
_REDIRECTS = 10


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that was fetched; `mtime` in ns."""

    path: Path
    size: int
    digest: str
    mtime: int

    def tree(self, name: str) -> _OneFile:
        """Return a tree with this file alone."""
        return _OneFile(self, name)


async def fetch(source: Url, scratch: Scratch, sink: Sink) -> Fetched:
    """Fetch a URL into a new file. Raises `Unavailable`, and `InvalidArgument` for another content than was wanted."""
    import aiohttp

    path = scratch.name("url")
    shown = _without_secrets(source.url)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False, trust_env=True) as session:
            headers = {"Accept-Encoding": "identity"}
            async with session.get(source.url, headers=headers, max_redirects=_REDIRECTS) as response:
                if response.status != 200:
                    raise Unavailable(f"invalid response status {response.status} for {shown}")
                size, digest = await _written(response, path, shown, sink)
                mtime = _time(response.headers.get("Last-Modified", ""))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        path.unlink(missing_ok=True)
        raise Unavailable(f"failed to load {shown}: {_reason(error, source.url, shown)}") from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    if source.checksum and digest != source.checksum:
        path.unlink(missing_ok=True)
        raise InvalidArgument(f"digest mismatch {digest}: {source.checksum}")
    sink.transfer(shown, size, size, done=True)
    return Fetched(path, size, digest, mtime)


async def _written(response: Any, path: Path, shown: str, sink: Sink) -> tuple[int, str]:
    total = response.content_length or 0
    if total > _MOST_BYTES:
        raise InvalidArgument(f"{shown} has {total} bytes, at most {_MOST_BYTES} are taken")
    digest, size = hashlib.sha256(), 0
    with await asyncio.to_thread(open, path, "xb", buffering=0) as file:
        async for block in response.content.iter_chunked(_BLOCK):
            size += len(block)
            if size > _MOST_BYTES:
                raise InvalidArgument(f"{shown} has more than {_MOST_BYTES} bytes")
            digest.update(block)
            await asyncio.to_thread(file.write, block)
            sink.transfer(shown, size, total)
    return size, f"sha256:{digest.hexdigest()}"


def _time(text: str) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 10**9
    except (ValueError, OverflowError, TypeError):
        return 0


def _without_secrets(url: str) -> str:
    """Return a URL as it may be shown: without a password."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc=f"xxxxx@{parts.netloc.rpartition('@')[2]}").geturl()


def _reason(error: BaseException, url: str, shown: str) -> str:
    return (str(error) or type(error).__name__).replace(url, shown)


class _OneFile:
    """A tree that is one file."""

    has_owners = False

    def __init__(self, fetched: Fetched, name: str) -> None:
        self._fetched = fetched
        self._name = name

    def look(self, path: str) -> Found | None:
        if path:
            return None
        return Found("", Kind.FILE, 0o600, size=self._fetched.size, mtime=self._fetched.mtime)

    def resolve(self, path: str) -> str | None:
        return None if path else ""

    def names(self, path: str) -> Sequence[str]:
        return []

    def open(self, found: Found) -> int:
        return os.open(self._fetched.path, os.O_RDONLY | os.O_CLOEXEC)

    def digest(self, found: Found) -> str:
        return self._fetched.digest
