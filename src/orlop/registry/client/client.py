"""The door to registries: one client lasts as long as one command of a user."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from urllib.parse import urlencode

import msgspec

from orlop.errors import Error, InvalidArgument, Unauthorized
from orlop.formats.reference import Reference
from orlop.registry.client.config import RegistryConfig, host_name
from orlop.registry.client.credentials import Credentials
from orlop.registry.client.failures import Interrupted, status_text
from orlop.registry.client.mirrors import HUB, endpoints, mirror_endpoints, registry_host
from orlop.registry.client.registry import Registry
from orlop.registry.client.repository import Repository
from orlop.registry.client.transport import Call, Transport, read_bounded

__all__ = ["RegistryClient", "SearchResult"]

_MAX_SEARCH_ANSWER = 4 << 20
_SEARCH_HOST = "index.docker.io"


class SearchResult(msgspec.Struct, frozen=True):
    """A repository that a search found, in the words of the API."""

    name: str = ""
    description: str | None = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _SearchAnswer(msgspec.Struct):
    results: list[SearchResult] | None = None


class RegistryClient:
    """Registries as one user sees them. Used as an asynchronous context manager."""

    def __init__(self, config: RegistryConfig, credentials: Credentials | None = None) -> None:
        self._config = config
        self._credentials = credentials
        self._transport = Transport(config)
        self._registries: dict[str, Registry] = {}
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> RegistryClient:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    def repository(self, reference: Reference) -> Repository:
        """Return the repository of a reference; nothing is asked yet."""
        mirrors = tuple(
            Registry(self._transport, endpoint, None) for endpoint in mirror_endpoints(reference.domain, self._config)
        )
        return Repository(reference, lambda: self._registry(reference.domain), mirrors)

    async def ping(self, host: str) -> None:
        """Find out that there is a registry at ``host[:port]``. Raises `errors.Error` with dockerd's words."""
        await self._registry(host)

    async def login(self, host: str) -> str:
        """Try the credentials at a registry; return the identity token that it gives for them, or an empty string.

        Raises `Unauthorized` and other errors with dockerd's words.
        """
        registry = await self._registry(host)
        token = await registry.authorizer.log_in()
        async with await registry.attempt("GET", registry.url("")) as answer:
            if answer.status != 200:
                kind = Unauthorized if answer.status == 401 else Error
                raise kind(f"login attempt to {registry.url('')} failed with status: {status_text(answer.status)}")
        return token

    async def search(self, term: str, limit: int = 25) -> list[SearchResult]:
        """Search for repositories, as Docker Hub and registries of its old kind can. Raises `errors.Error`."""
        host, slash, rest = term.partition("/")
        if slash and ("." in host or ":" in host or host == "localhost"):
            domain, term = host, rest
        else:
            domain = HUB
        if not term:
            raise InvalidArgument("invalid search term: it is empty")
        address = _SEARCH_HOST if domain == HUB else domain
        base = f"https://{address}" if domain == HUB else (await self._registry(domain)).endpoint.url
        call = Call("GET", f"{base}/v1/search?{urlencode([('q', term), ('n', str(limit))])}")
        async with await self._transport.send(call) as answer:
            if answer.status != 200:
                raise Error(f"Unexpected status code {answer.status}: {address} has no search")
            data = await read_bounded(answer, _MAX_SEARCH_ANSWER, self._config.patience.answer)
        try:
            return (msgspec.json.decode(data, type=_SearchAnswer).results or [])[:limit]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Error(f"{address} answered the search with what is no list of repositories") from None

    async def _registry(self, domain: str) -> Registry:
        """Return the registry of a domain at the first of its addresses that answers. Raises `Unreachable`."""
        async with self._lock:
            if domain not in self._registries:
                self._registries[domain] = await self._find(domain)
            return self._registries[domain]

    async def _find(self, domain: str) -> Registry:
        insecure = self._config.is_insecure(domain, await self._addresses(domain))
        failure: Interrupted | None = None
        for endpoint in endpoints(domain, insecure):
            registry = Registry(self._transport, endpoint, self._credentials)
            try:
                await registry.ping()
            except Interrupted as error:
                failure = error
            else:
                return registry
        assert failure is not None
        raise failure

    async def _addresses(self, domain: str) -> list[str]:
        """Return the addresses of a name, for the networks that count as insecure; none if it has none."""
        host = registry_host(domain)
        if host != domain:
            return []  # Docker Hub is always secure
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host_name(host), None, type=socket.SOCK_STREAM)
        except OSError:
            return []  # connecting says it better
        return [str(address[0]) for *_, address in found]
