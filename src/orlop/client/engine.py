"""The blocking client: carries out calls over one kept connection, and opens further ones for streams.

The newest API version that this client knows is in every path. A daemon that is older says so and names its own; the
call is then repeated with that one, so no round trip is spent on asking first. A call with a streamed body cannot be
repeated: it asks with a ping before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from orlop import __version__, errors
from orlop.client import calls
from orlop.client.call import Call, Json, T
from orlop.client.endpoint import Endpoint
from orlop.client.hijack import Hijacked
from orlop.client.transport import CannotConnect, Connection, Dialer, Response, connect

__all__ = ["API_VERSION", "USER_AGENT", "Engine", "failure", "json_batches"]

API_VERSION = "1.51"
USER_AGENT = f"Orlop-Client/{__version__} (linux)"
FIXED_HEADERS = (("Host", "api.orlop.localhost"), ("User-Agent", USER_AGENT))
BLANK = b" \t\r\x1e"  # a record separator begins each object of a JSON text sequence
_SIDE_BY_SIDE = 50
_UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "tcp")]
_TOO_NEW = re.compile(r"client version \S+ is too new\. Maximum supported API version is (\d+\.\d+)")

_BY_STATUS: dict[int, type[errors.Error]] = {
    kind.status: kind
    for kind in (
        errors.InvalidArgument,
        errors.Unauthorized,
        errors.Forbidden,
        errors.NotFound,
        errors.Conflict,
        errors.NotModified,
        errors.NotImplementedYet,
        errors.Unavailable,
        errors.GatewayTimeout,
    )
}


def too_new(error: errors.Error) -> str | None:
    """Return the version that a daemon names as its newest when it refuses ours, else None."""
    match = _TOO_NEW.search(error.message)
    return match[1] if match else None


def failure(status: int, reason: str, content_type: str, body: bytes) -> errors.Error:
    """Return the error that an answer of status 400 and above tells, with the daemon's message."""
    message = ""
    if content_type.partition(";")[0] == "application/json":
        try:
            message = json.loads(body).get("message", "")
        except (ValueError, AttributeError):
            message = ""
    if not message:
        message = body.decode(errors="replace").strip() or f"request returned {status} {reason}"
    return _BY_STATUS.get(status, errors.Internal)(message)


class Engine:
    """The daemon behind `endpoint`, for programs that wait.

    `version` is the API version in use: `API_VERSION` until the daemon turned out to be older. Set `pinned` to keep
    to a version (``DOCKER_API_VERSION``). `server` holds the headers of the last answer.
    """

    def __init__(self, endpoint: Endpoint, *, pinned: str = "", dial: Dialer = connect) -> None:
        self.endpoint = endpoint
        self.version = pinned or API_VERSION
        self.server: dict[str, str] = {}
        self._negotiated = bool(pinned)
        self._dial = dial
        self._idle: Connection | None = None

    def do(self, call: Call[T]) -> T:
        """Carry `call` out and return its decoded answer; raise the `orlop.errors` type of its status."""
        response = self.open(call)
        data = response.read()
        self._keep(response)
        return call.decode(data)

    def each(self, requests: Sequence[Call[T]]) -> Iterator[T | errors.Error]:
        """Carry calls out side by side and yield, in their order, what each returned or the error it ended with."""
        if len(requests) == 1:
            only: T | errors.Error = self._attempt(requests[0])
            yield only
            return
        self.negotiate()
        for start in range(0, len(requests), _SIDE_BY_SIDE):
            part = requests[start : start + _SIDE_BY_SIDE]
            connections = [Connection(self._dial(self.endpoint)) for _ in part]
            try:
                for call, connection in zip(part, connections, strict=True):
                    headers = [*FIXED_HEADERS, *call.headers]
                    connection.send(call.method, f"/v{self.version}{call.target}", headers, call.body)
                for call, connection in zip(part, connections, strict=True):
                    outcome: T | errors.Error = self._outcome(call, connection)
                    yield outcome
            finally:
                for connection in connections:
                    connection.close()

    def _attempt(self, call: Call[T]) -> T | errors.Error:
        try:
            return self.do(call)
        except CannotConnect:
            raise
        except errors.Error as error:
            return error

    def _outcome(self, call: Call[T], connection: Connection) -> T | errors.Error:
        response = connection.answer(call.method)
        body = response.read()
        if response.status >= 400:
            return failure(response.status, response.reason, response.header("content-type"), body)
        return call.decode(body)

    def open(self, call: Call[T]) -> Response:
        """Carry `call` out and return its answer with the body unread: for streams. Errors as in `do`."""
        if not isinstance(call.body, bytes):
            self.negotiate()
        return self._exchange(call, [])

    def json_lines(self, call: Call[T]) -> Iterator[Json]:
        """Yield the JSON objects of a streamed answer as they arrive."""
        for batch in json_batches(self.open(call)):
            yield from batch

    def hijack(self, call: Call[bytes]) -> Hijacked:
        """Turn a call's connection into a raw stream (attach, exec start). Errors as in `do`."""
        response = self._exchange(call, _UPGRADE)
        stream, leftover = response.detach()
        return Hijacked(stream, leftover, multiplexed="multiplexed" in response.header("content-type"))

    def negotiate(self) -> str:
        """Ask the daemon for its version, if that is not known yet, and return the version in use."""
        if not self._negotiated:
            response = self._send(calls.ping(), [], prefix="")
            response.read()
            self._keep(response)
            self._adopt(response.header("api-version"))
        return self.version

    def close(self) -> None:
        """Close the kept connection."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def _exchange(self, call: Call[T], headers: list[tuple[str, str]]) -> Response:
        response = self._send(call, headers)
        if response.status < 400:
            return response
        error = self._error(response)
        older = None if self._negotiated else too_new(error)
        if older is None:
            raise error
        self._adopt(older)
        response = self._send(call, headers)
        if response.status >= 400:
            raise self._error(response)
        return response

    def _send(self, call: Call[T], headers: list[tuple[str, str]], prefix: str | None = None) -> Response:
        target = (f"/v{self.version}" if prefix is None else prefix) + call.target
        connection, self._idle = self._idle, None
        if connection is None or connection.stale():
            connection = Connection(self._dial(self.endpoint))
        try:
            response = connection.request(call.method, target, [*FIXED_HEADERS, *call.headers, *headers], call.body)
        except BaseException:
            connection.close()
            raise
        self.server = response.headers
        return response

    def _error(self, response: Response) -> errors.Error:
        body = response.read()
        self._keep(response)
        return failure(response.status, response.reason, response.header("content-type"), body)

    def _adopt(self, version: str) -> None:
        self._negotiated = True
        if version and version_tuple(version) < version_tuple(self.version):
            self.version = version

    def _keep(self, response: Response) -> None:
        if self._idle is None and response.reusable:
            self._idle = response.connection
        else:
            response.close()


def version_tuple(version: str) -> tuple[int, ...]:
    """Return "1.51" as (1, 51)."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def json_batches(response: Response, *, tick: float | None = None) -> Iterator[list[Json]]:
    """Yield the JSON objects of an answer that has one a line, those together that arrived together.

    With `tick` there is also an empty batch whenever so many seconds have brought nothing.
    """
    try:
        yield from _split_json(response.chunks(tick=tick))
    finally:
        response.close()


def _split_json(chunks: Iterable[bytes]) -> Iterator[list[Json]]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        batch = [json.loads(line) for line in (line.strip(BLANK) for line in lines) if line]
        if batch or not chunk:
            yield batch
    if rest.strip(BLANK):
        yield [json.loads(rest.strip(BLANK))]
