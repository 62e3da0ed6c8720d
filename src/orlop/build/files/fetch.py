"""Fetching a URL for ADD: a file with the time that the server tells, its checksum verified where one was given.

It lies in the context store, so that it is not sent again as long as the server says that it is the same. A password in
the URL goes to its own origin alone, and into no message.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from orlop.build.files.downloads import Download
from orlop.build.files.store import ContextStore, Lease
from orlop.build.files.trees import Found
from orlop.build.graph import Url
from orlop.build.worker import Sink
from orlop.errors import InvalidArgument, Unavailable
from orlop.formats.tar.entry import Kind

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

__all__ = ["Fetched", "fetch", "without_password"]

_MOST_BYTES = 64 << 30
_PIECE = 1 << 20
_CONNECT_SECONDS = 30.0
_SILENCE_SECONDS = 60.0
_REDIRECTS = 10
_NOT_MODIFIED = 304
_MOVED = frozenset((301, 302, 303, 307, 308))


class Fetched:
    """A file that was fetched, and is kept until `release`."""

    def __init__(self, download: Download, store: ContextStore, lease: Lease) -> None:
        self.digest = download.digest
        self.size = download.size
        self._mtime = download.mtime
        self._store = store
        self.release = lease.release

    def open(self) -> int:
        """Return a descriptor for reading. Raises `NotFound`."""
        return self._store.open(self.digest)

    def tree(self) -> _OneFile:
        """Return a tree with this file alone."""
        found = Found("", Kind.FILE, 0o600, size=self.size, mtime=self._mtime, digest=self.digest)
        return _OneFile(self, found)


async def fetch(source: Url, store: ContextStore, sink: Sink) -> Fetched:
    """Fetch a URL. Raises `Unavailable`, and `InvalidArgument` for another content than was wanted."""
    import aiohttp

    shown = without_password(source.url)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
    with store.growing():
        try:
            async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
                download = await _Fetch(session, source.url, shown, store, sink).run()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"failed to load {shown}: {_reason(error, source.url, shown)}") from None
        if source.checksum and download.digest != source.checksum:
            raise InvalidArgument(f"digest mismatch {download.digest}: {source.checksum}")
        sink.transfer(shown, download.size, download.size, done=True)
        store.downloads.put(source.url, download)
        return Fetched(download, store, store.hold_digests((download.digest,)))


class _Fetch:
    """The requests for one file. `shown` is its URL as it may be told."""

    def __init__(self, session: ClientSession, url: str, shown: str, store: ContextStore, sink: Sink) -> None:
        self._session = session
        self._url = url
        self._shown = shown
        self._store = store
        self._sink = sink
        self._known = store.downloads.get(url)
        if self._known is not None and not store.known(self._known.digest):
            self._known = None

    async def run(self) -> Download:
        """Return what the URL has, or what it leads to."""
        headers = {"Accept-Encoding": "identity"} | (self._known.conditions() if self._known is not None else {})
        url = self._url
        for _ in range(_REDIRECTS + 1):
            async with self._session.get(url, headers=headers, allow_redirects=False, proxy=_proxy(url)) as response:
                location = response.headers.get("Location", "")
                if response.status not in _MOVED or not location:
                    return await self._answered(response)
                url = _followed(url, location)
        raise Unavailable(f"failed to load {self._shown}: stopped after {_REDIRECTS} redirects")

    async def _answered(self, response: ClientResponse) -> Download:
        if response.status == _NOT_MODIFIED and self._known is not None:
            return self._known
        if response.status != 200:
            raise Unavailable(f"invalid response status {response.status} for {self._shown}")
        size, digest = await self._stored(response)
        modified = response.headers.get("Last-Modified", "")
        return Download(digest, size, _time(modified), response.headers.get("ETag", ""), modified)

    async def _stored(self, response: ClientResponse) -> tuple[int, str]:
        total = response.content_length or 0
        fresh = self._store.fresh()
        hasher, size = hashlib.sha256(), 0

        def write(file: BinaryIO, parts: list[bytes]) -> None:
            data = b"".join(parts)
            hasher.update(data)
            file.write(data)

        try:
            with fresh.open("xb") as file:
                parts: list[bytes] = []
                written = 0
                async for block in response.content.iter_any():
                    parts.append(block)
                    size += len(block)
                    if max(size, total) > _MOST_BYTES:
                        raise InvalidArgument(f"{self._shown} has more than {_MOST_BYTES} bytes")
                    if size - written >= _PIECE:
                        await asyncio.to_thread(write, file, parts)
                        parts, written = [], size
                        self._sink.transfer(self._shown, size, total)
                write(file, parts)
            digest = f"sha256:{hasher.hexdigest()}"
            self._store.enter(fresh, digest, size)
            return size, digest
        finally:
            fresh.unlink(missing_ok=True)


def _followed(url: str, location: str) -> str:
    """Return where a redirect leads; the password of a URL stays with its origin. Raises `ValueError`."""
    before, after = urlsplit(url), urlsplit(urljoin(url, location))
    if after.scheme not in ("http", "https"):
        raise ValueError(f"redirected to the protocol {after.scheme!r}")
    user, at, _ = before.netloc.rpartition("@")
    same = (before.scheme, before.hostname, before.port) == (after.scheme, after.hostname, after.port)
    if at and same and "@" not in after.netloc:
        after = after._replace(netloc=f"{user}@{after.netloc}")
    return after.geturl()


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for a URL."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return None if proxy_bypass(host) else getproxies().get(parts.scheme)


def _time(text: str) -> int:
    try:
        time = parsedate_to_datetime(text)
        return max(0, int(time.replace(tzinfo=time.tzinfo or UTC).timestamp())) * 10**9
    except (ValueError, OverflowError, TypeError):
        return 0


def without_password(url: str) -> str:
    """Return a URL as it may be shown: without a password. Raises `InvalidArgument` for what is none."""
    try:
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError("it has no host")
    except ValueError as error:
        raise InvalidArgument(f"invalid URL: {error}") from None
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc=f"xxxxx@{parts.netloc.rpartition('@')[2]}").geturl()


def _reason(error: BaseException, url: str, shown: str) -> str:
    text = (str(error) or type(error).__name__).replace(url, shown)
    secret = urlsplit(url).netloc.rpartition("@")[0]
    return text.replace(f"{secret}@", "xxxxx@") if secret else text


class _OneFile:
    """A tree that is one file."""

    has_owners = False

    def __init__(self, fetched: Fetched, found: Found) -> None:
        self._fetched = fetched
        self._found = found

    def look(self, path: str) -> Found | None:
        return None if path else self._found

    def resolve(self, path: str) -> str | None:
        return None if path else ""

    def names(self, path: str) -> Sequence[str]:
        return []

    def open(self, found: Found) -> int:
        return self._fetched.open()

    def digest(self, found: Found) -> str:
        return self._fetched.digest
