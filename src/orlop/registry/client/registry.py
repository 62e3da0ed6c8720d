"""One endpoint of a registry: requests with authorization, repeated when the connection or the server failed."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import random
import time
from collections.abc import Collection, Mapping
from dataclasses import replace

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
_RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})


class Registry:
    """A registry at one address."""

    def __init__(self, transport: Transport, endpoint: Endpoint, credentials: Credentials | None) -> None:
        self.endpoint = endpoint
        self.transport = transport
        self.patience = transport.config.patience
        self.authorizer = Authorizer(transport, endpoint, None if endpoint.mirror else credentials)

    def url(self, path: str) -> str:
        """Return the address of a path below ``/v2/``."""
        return f"{self.endpoint.url}/v2/{path}"

    async def ping(self) -> int:
        """Ask for the API's root, once and without credentials; return the status. Raises `Unreachable`…"""
        async with await self.transport.send(Call("GET", self.url(""), verified=self.endpoint.verified)) as response:
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
        attempts = attempts or (1 if self.endpoint.mirror else self.patience.attempts)
        request = Call(method, url, headers or {}, body=body, follow=follow)
        for attempt in range(1, attempts + 1):
            try:
                response = await self._authorized(request, frozenset(scopes))
                if response.status in accept:
                    return response
                async with response:
                    failure = await self.failure(response)
                if response.status not in _RETRYABLE:
                    raise failure
                wait = self._wait(attempt, response.headers.get("Retry-After", ""))
            except Interrupted as error:
                failure, wait = error, self._wait(attempt, "")
            if attempt == attempts or wait > self.patience.longest_wait:
                break
            log.info("%s; attempt %d of %d follows in %.1f s", failure, attempt + 1, attempts, wait)
            await asyncio.sleep(wait)
        raise failure

    async def pause(self, attempt: int) -> None:
        """Wait before another attempt than that with this number."""
        await asyncio.sleep(self._wait(attempt, ""))

    async def attempt(self, method: str, url: str) -> aiohttp.ClientResponse:
        """Send a request once, with authorization, and return whatever comes, for ``async with``."""
        return await self._authorized(Call(method, url), frozenset())

    async def failure(self, response: aiohttp.ClientResponse) -> Error:
        """Return the error that an unwelcome answer means."""
        challenges = parse_challenges(response.headers.getall("WWW-Authenticate", ()))
        body = b"" if response.method == "HEAD" else await read_bounded(response, _MAX_ERROR_PAGE, self.patience.answer)
        return from_answer(response.status, body, challenges)

    async def _authorized(self, call: Call, scopes: frozenset[str]) -> aiohttp.ClientResponse:
        """Send a request with authorization; if that has expired, once more with a new one."""
        ours = origin(check_url(call.url)) == origin(self.endpoint.url)  # uploads may go elsewhere, without secrets
        if not ours:
            return await self.transport.send(call)
        used = await self.authorizer.header(scopes)
        call = replace(call, authorization=used, verified=self.endpoint.verified)
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

    def _wait(self, attempt: int, retry_after: str) -> float:
        """Return the seconds until the next attempt."""
        backoff = self.patience.backoff * 2.0 ** (attempt - 1)
        return max(_seconds(retry_after), backoff * random.uniform(0.75, 1.25))


def _seconds(retry_after: str) -> float:
    """Return what a Retry-After header asks for (RFC 9110, section 10.2.3)."""
    text = retry_after.strip()
    if text.isdecimal() and text.isascii():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
