"""One endpoint of a registry: requests with authorization, repeated when the connection or the server failed."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import TypeVar

import aiohttp

from orlop.errors import Error
from orlop.registry.client.auth import Authorizer
from orlop.registry.client.challenges import parse_challenges
from orlop.registry.client.credentials import Credentials
from orlop.registry.client.failures import Interrupted, from_answer
from orlop.registry.client.mirrors import Endpoint
from orlop.registry.client.transport import Body, Call, Transport, check_url, origin, read_bounded

__all__ = ["Registry"]

log = logging.getLogger(__name__)

_MAX_ERROR_PAGE = 64 << 10
_Result = TypeVar("_Result")


class Registry:
    """A registry at one address."""

    def __init__(self, transport: Transport, endpoint: Endpoint, credentials: Credentials | None) -> None:
        self.endpoint = endpoint
        self.transport = transport
        self.patience = transport.config.patience
        transport.trust(endpoint)
        self.authorizer = Authorizer(transport, endpoint, None if endpoint.mirror else credentials)

    def url(self, path: str) -> str:
        """Return the address of a path below ``/v2/``."""
        return f"{self.endpoint.url}/v2/{path}"

    async def ping(self) -> int:
        """Ask for the API's root, once and without credentials; return the status. Raises `Unreachable`…"""
        async with await self.transport.send(Call("GET", self.url(""))) as response:
            if response.status == 401:
                self.authorizer.learn(response.headers.getall("WWW-Authenticate", ()))
            return response.status

    async def call(
        self,
        method: str,
        url: str,
        *,
        scopes: Collection[str] = (),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        accept: Collection[int] = (200,),
        follow: bool = True,
        attempts: int = 0,
    ) -> aiohttp.ClientResponse:
        """Send a request; return an answer with a status of `accept`, for ``async with``. Everything else is raised.

        What failed for a reason that may pass is repeated, up to `attempts` times (0: as configured).
        """
        request = Call(method, url, headers or {}, body=body, follow=follow)
        return await self._persist(lambda: self._accepted(request, frozenset(scopes), accept), attempts)

    async def read(
        self, url: str, limit: int, *, scopes: Collection[str] = (), headers: Mapping[str, str] | None = None
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        """Get a document of `limit` bytes at most; return its head and all of it. Repeats as `call` does."""
        request = Call("GET", url, headers or {})

        async def get() -> tuple[aiohttp.ClientResponse, bytes]:
            async with await self._accepted(request, frozenset(scopes), (200,)) as response:
                return response, await read_bounded(response, limit, self.patience.answer)

        return await self._persist(get, 0)

    async def _persist(self, operation: Callable[[], Awaitable[_Result]], attempts: int) -> _Result:
        """Do something again as long as it fails for a reason that may pass."""
        attempts = attempts or (1 if self.endpoint.mirror else self.patience.attempts)
        attempt = 1
        while True:
            try:
                return await operation()
            except Interrupted as error:
                if attempt >= attempts or error.retry_after > self.patience.longest_wait:
                    raise
                await self.pause(attempt, error)
            attempt += 1

    async def pause(self, attempt: int, failure: Interrupted) -> None:
        """Wait after a failed attempt, the longer the more there were."""
        backoff = self.patience.backoff * 2.0 ** (attempt - 1) * random.uniform(0.75, 1.25)
        wait = max(failure.retry_after, backoff)
        log.info("%s; another attempt follows in %.1f s", failure, wait)
        await asyncio.sleep(wait)

    async def _accepted(self, call: Call, scopes: frozenset[str], accept: Collection[int]) -> aiohttp.ClientResponse:
        response = await self._authorized(call, scopes)
        if response.status in accept:
            return response
        async with response:
            raise await self.failure(response)

    async def attempt(self, method: str, url: str) -> aiohttp.ClientResponse:
        """Send a request once, with authorization, and return whatever comes, for ``async with``."""
        return await self._authorized(Call(method, url), frozenset())

    async def failure(self, response: aiohttp.ClientResponse) -> Error:
        """Return the error that an unwelcome answer means."""
        challenges = parse_challenges(response.headers.getall("WWW-Authenticate", ()))
        body = b"" if response.method == "HEAD" else await read_bounded(response, _MAX_ERROR_PAGE, self.patience.answer)
        failure = from_answer(response.status, body, challenges)
        if isinstance(failure, Interrupted):
            failure.retry_after = _seconds(response.headers.get("Retry-After", ""))
        return failure

    async def _authorized(self, call: Call, scopes: frozenset[str]) -> aiohttp.ClientResponse:
        """Send a request with authorization; if that has expired, once more with a new one."""
        ours = origin(check_url(call.url)) == origin(self.endpoint.url)  # uploads may go elsewhere, without secrets
        if not ours:
            return await self.transport.send(call)
        used = await self.authorizer.header(scopes)
        call = replace(call, authorization=used)
        response = await self.transport.send(call)
        if response.status != 401 or origin(str(response.url)) != origin(call.url):
            return response
        try:
            renewed = await self._renewed(response, scopes, used)
        except BaseException:
            response.close()
            raise
        if renewed is None:
            return response
        response.close()
        return await self.transport.send(replace(call, authorization=renewed))

    async def _renewed(self, response: aiohttp.ClientResponse, scopes: frozenset[str], used: str | None) -> str | None:
        headers = response.headers.getall("WWW-Authenticate", ())
        denied = any(item.get("error") == "insufficient_scope" for item in parse_challenges(headers))
        if denied and used is not None:
            return None
        return await self.authorizer.renew(headers, scopes, used)


def _seconds(retry_after: str) -> float:
    """Return what a Retry-After header asks for (RFC 9110, section 10.2.3)."""
    text = retry_after.strip()
    if text.isdecimal() and text.isascii():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
