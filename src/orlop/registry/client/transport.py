"""Single HTTP requests: bounded in time and size, redirects followed by hand, TLS as ``certs.d`` wants it.

A secret is sent to the origin (scheme, host, port) that it was meant for and to no other, wherever an answer leads.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import yarl

import orlop
from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.registry.client.certificates import tls_context
from orlop.registry.client.config import RegistryConfig
from orlop.registry.client.failures import CONNECTION_ERRORS, from_connection, public_url
from orlop.registry.client.mirrors import Endpoint

__all__ = ["Body", "Call", "Transport", "check_stored", "check_url", "origin", "read_bounded", "resolve"]

_MAX_REDIRECTS = 10
_MAX_URL = 16 << 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_READ_BUFFER = 256 << 10
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Body:
    """What a request sends: `length` bytes that `open` yields, each time anew."""

    length: int
    open: Callable[[], AsyncIterator[bytes]]

    @classmethod
    def of(cls, data: bytes) -> Body:
        """Return the body that is `data`."""

        async def blocks() -> AsyncIterator[bytes]:
            yield data

        return cls(len(data), blocks)


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `authorization` is for the origin of `url` alone; `body` is never sent to another one."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    authorization: str | None = field(default=None, repr=False)
    body: Body | None = None
    follow: bool = True


@dataclass
class _Sending:
    """A request under way: until when its answer is waited for, and of what its body's source has failed."""

    deadline: asyncio.Timeout
    answered: bool = False
    error: Exception | None = None


class Transport:
    """The connections of one client. Used as an asynchronous context manager."""

    def __init__(self, config: RegistryConfig) -> None:
        self.config = config
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._unverified: set[str] = set()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Transport:
        patience = self.config.patience
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=patience.connect),
            auto_decompress=False,
            skip_auto_headers=("Content-Type",),
            headers={"User-Agent": f"orlop/{orlop.__version__}", "Accept-Encoding": "identity"},
            read_bufsize=_READ_BUFFER,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    def trust(self, endpoint: Endpoint) -> None:
        """Take an endpoint that was chosen for what it is: one that need not be verified is not."""
        if not endpoint.verified:
            self._unverified.add(endpoint.host)

    def is_insecure(self, host: str) -> bool:
        """Tell whether ``host[:port]`` counts as insecure, by its name or since it was chosen as such."""
        return host in self._unverified or self.config.is_insecure(host)

    async def send(self, call: Call) -> aiohttp.ClientResponse:
        """Send a request; return the head of its answer, behind redirects. It is to be used in ``async with``.

        Raises `Interrupted`, and `InvalidArgument` for addresses that cannot be followed.
        """
        url, authorization = check_url(call.url), call.authorization
        for _ in range(_MAX_REDIRECTS + 1):
            response = await self._send(call, url, authorization)
            if response.status not in _REDIRECTS or not call.follow or call.body is not None:
                return response
            async with response:
                target = resolve(url, response.headers.get("Location", ""))
            if origin(target) != origin(url):
                authorization = None
            url = target
        raise InvalidArgument(f'{call.method.capitalize()} "{public_url(call.url)}": stopped after 10 redirects')

    async def _send(self, call: Call, url: str, authorization: str | None) -> aiohttp.ClientResponse:
        assert self._session is not None
        headers = dict(call.headers)
        if authorization is not None:
            headers["Authorization"] = authorization
        context = await self._context(url)
        patience = self.config.patience
        sending = _Sending(asyncio.timeout(patience.connect + patience.answer))
        try:
            async with sending.deadline:
                data = None
                if call.body is not None:
                    headers["Content-Length"] = str(call.body.length)
                    data = self._watched(call.body, sending)
                response = await self._session.request(
                    call.method,
                    yarl.URL(url, encoded=True),
                    headers=headers,
                    data=data,
                    allow_redirects=False,
                    ssl=context,
                    proxy=_proxy(url),
                )
                sending.answered = True
                return response
        except CONNECTION_ERRORS as error:
            if sending.error is not None:
                raise sending.error from None
            raise from_connection(call.method, url, error) from error
        except ValueError as error:  # what was asked is no HTTP: a host name of dots, a header with a line feed
            raise InvalidArgument(f'{call.method.capitalize()} "{public_url(url)}": invalid request') from error

    async def _watched(self, body: Body, sending: _Sending) -> AsyncIterator[bytes]:
        """Yield a body's blocks; the deadline of the answer moves on with each of them."""
        loop = asyncio.get_running_loop()
        patience = self.config.patience
        left = body.length
        try:
            async for block in body.open():
                left -= len(block)
                if not sending.answered:
                    sending.deadline.reschedule(loop.time() + (patience.stall if left > 0 else patience.commit))
                yield block
        except Exception as error:
            sending.error = error  # aiohttp tells only that the body could not be written
            raise

    async def _context(self, url: str) -> ssl.SSLContext | bool:
        """Return the TLS context for an address."""
        parts = urlsplit(url)
        if parts.scheme != "https":
            return False
        host = parts.netloc
        if host not in self._contexts:
            verified = not self.is_insecure(host)
            self._contexts[host] = await asyncio.to_thread(
                tls_context, host, self.config.certs_directories, verified=verified
            )
        return self._contexts[host]


def check_url(url: str) -> str:
    """Return an address that a registry may name: http or https, a host, nobody's name. Raises `InvalidArgument`."""
    shown = public_url(url)
    if len(url) > _MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidArgument(f"invalid address: {shown[:256]!r}")
    try:
        parts = urlsplit(url)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        raise InvalidArgument(f"invalid address: {shown[:256]!r}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or not port_is_good:
        raise InvalidArgument(f"invalid address: {shown[:256]!r}")
    if "@" in parts.netloc:
        raise InvalidArgument(f"invalid address: credentials in it: {parts.scheme}://xxxxx@{parts.hostname}")
    return url.partition("#")[0]


def resolve(base: str, location: str) -> str:
    """Return the address that a ``Location`` header names, seen from `base`. Raises `InvalidArgument`."""
    if not location:
        raise InvalidArgument(f'"{public_url(base)}": the answer has no Location')
    try:
        return check_url(urljoin(base, location))
    except ValueError:
        raise InvalidArgument(f'"{public_url(base)}": the answer has an invalid Location') from None


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a checked address: what a secret is meant for."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]


async def read_bounded(response: aiohttp.ClientResponse, limit: int, seconds: float) -> bytes:
    """Return a whole small body. Raises `InvalidArgument` if it has more than `limit` bytes, `Interrupted`."""
    what = f'{response.method.capitalize()} "{public_url(str(response.url))}"'
    if (response.content_length or 0) > limit:
        raise InvalidArgument(f"{what}: the answer has more than {limit} bytes")
    parts: list[bytes] = []
    length = 0
    try:
        async with asyncio.timeout(seconds):
            while block := await response.content.readany():
                parts.append(block)
                length += len(block)
                if length > limit:
                    raise InvalidArgument(f"{what}: the answer has more than {limit} bytes")
    except CONNECTION_ERRORS as error:
        raise from_connection(response.method, str(response.url), error) from error
    return b"".join(parts)


def check_stored(answer: aiohttp.ClientResponse, digest: Digest, what: str) -> None:
    """Check that a registry has stored what it was given, where it says so. Raises `InvalidArgument`."""
    stated = answer.headers.get("Docker-Content-Digest", "")
    if stated and stated.partition(":")[0] == digest.algorithm and stated != str(digest):
        raise InvalidArgument(f"the registry has stored {stated[:256]} for {what} {digest}")


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for an address; this machine is reached without one."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if RegistryConfig().is_insecure(host):
        return None
    proxies = getproxies()
    if proxy_bypass(parts.netloc):
        return None
    return proxies.get(parts.scheme)
