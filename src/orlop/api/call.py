"""A call: one request on its way to the engine, and the shapes of answers.

Handlers in `orlop.api.routes` are given a `Call`, make one call to the engine and return what `answer`, `empty` or
`Call.stream` made. They see nothing of aiohttp.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from orlop.api import body
from orlop.api.aiohttp_parts import BaseRequest, Response, StreamResponse
from orlop.api.hijack import Connection, Upgrade
from orlop.api.query import Query
from orlop.api.versions import Version
from orlop.engine.system.version import API_VERSION, DOCKER_VERSION
from orlop.errors import InvalidArgument

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["HEADERS", "JSON", "TAR", "Answer", "Call", "answer", "empty", "failure", "text"]

log = logging.getLogger(__name__)

T = TypeVar("T")
Answer = StreamResponse

JSON = "application/json"
TAR = "application/x-tar"
HEADERS: Mapping[str, str] = {
    "Api-Version": API_VERSION,
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": f"Docker/{DOCKER_VERSION} (linux)",
}


def answer(value: Any, status: int = 200) -> Answer:
    """Return `value` as JSON, with a newline behind it as Go writes it."""
    return Response(status=status, body=msgspec.json.encode(value) + b"\n", headers={**HEADERS, "Content-Type": JSON})


def failure(message: str, status: int) -> Answer:
    """Return an error as clients read it."""
    return answer({"message": message.encode("utf-8", "replace").decode()}, status)


def text(value: str, headers: Mapping[str, str]) -> Answer:
    """Return plain text; `headers` say of what type."""
    return Response(body=value.encode(), headers={**HEADERS, **headers})


def empty(status: int = 204, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer without a body."""
    return Response(status=status, headers={**HEADERS, **(headers or {})})


class Call:
    """A request whose route and version are known."""

    __slots__ = ("_request", "_upgrade", "engine", "on_stream", "parts", "query", "started", "version")

    def __init__(
        self, request: BaseRequest, engine: Engine, version: Version, parts: Mapping[str, str], query: str
    ) -> None:
        self._request = request
        self._upgrade: Upgrade | None = None
        self.engine = engine
        self.version = version
        self.parts = parts
        self.query = Query(query)
        self.started = False  # the head of a stream is out: errors cannot be an answer any more
        self.on_stream: Callable[[], None] = lambda: None  # called when that happens

    def __str__(self) -> str:
        return f"{self._request.method} {self._request.path}"

    @property
    def method(self) -> str:
        return self._request.method

    @property
    def hijacked(self) -> Upgrade | None:
        """The upgrade that gave the connection away, if one did."""
        return self._upgrade if self._upgrade is not None and self._upgrade.done else None

    def header(self, name: str) -> str:
        """Return a header of the request, empty when it is absent."""
        return self._request.headers.get(name, "")

    @property
    def has_body(self) -> bool:
        """Whether a body was sent, or one whose length is not known."""
        length = self._request.headers.get("Content-Length")
        return "Transfer-Encoding" in self._request.headers if length is None else length.strip() != "0"

    async def decode(self, kind: type[T]) -> T:
        """Return the request's JSON body; an empty one has no fields. Raises `InvalidArgument`."""
        value = await self.json() if self.has_body else None
        return body.decode_fields(value, kind)

    async def json(self) -> Any:
        """Return the request's JSON body without types. Raises `InvalidArgument`."""
        if self.has_body:
            _check_content_type(self.header("Content-Type"))
        return body.parse(await self._read())

    async def raw(self) -> bytes:
        """Return the request's whole body, whatever it is. Raises `InvalidArgument` if it is too large."""
        return await self._read()

    def upload(self) -> AsyncIterator[bytes]:
        """Return the request's body piece by piece, as it arrives."""
        return self._request.content.iter_any()

    def connection(self) -> Upgrade:
        """Return the means to turn the connection into a stream; answers that come instead are ordinary ones."""
        connection = self._request.protocol
        assert isinstance(connection, Connection)
        multiplexed = self.version >= (1, 42)
        self._upgrade = connection.upgrade_of(self._request, multiplexed, HEADERS)
        if self._upgrade is None:
            raise InvalidArgument("a request that is to become a stream must not follow another one unanswered")
        return self._upgrade

    def watch(self) -> None:
        """From now on the call ends when its client goes."""
        self.on_stream()

    async def start(self, content_type: str) -> StreamResponse:
        """Send the head of an answer whose body follows in pieces. The caller ends it by `write_eof`."""
        self.started = True
        self.on_stream()
        response = StreamResponse(headers={**HEADERS, "Content-Type": content_type})
        await response.prepare(self._request)
        return response

    async def _read(self) -> bytes:
        data = bytearray()
        async for block in self._request.content.iter_any():
            data += block
            if len(data) > body.MAX_BODY:
                raise InvalidArgument(f"request body is larger than {body.MAX_BODY} bytes")
        return bytes(data)


def _check_content_type(text: str) -> None:
    """Raise `InvalidArgument` unless `text` is JSON's media type, perhaps with parameters."""
    kind = text.partition(";")[0].strip().lower()
    if not kind:
        raise InvalidArgument(f"malformed Content-Type header ({text}): mime: no media type")
    if kind != JSON:
        raise InvalidArgument(f"unsupported Content-Type header ({text}): must be '{JSON}'")
