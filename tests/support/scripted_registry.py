"""A registry for tests of the client, on the loopback and on the test's own event loop.

`ScriptedRegistry` does what a registry does, with everything in memory. A test changes what it wants to: by the fields,
or by `on`, which takes a request before the registry sees it, and may answer with anything, byte by byte.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

__all__ = ["Request", "ScriptedRegistry", "Stream", "digest_of"]

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Stream:
    """The way back to the client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.bodyless = False  # the answer is to a HEAD request

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int, **headers: str | int) -> None:
        lines = [f"HTTP/1.1 {status} Whatever"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw("\r\n".join([*lines, "", ""]).encode())

    async def answer(self, status: int, body: bytes = b"", **headers: str | int) -> None:
        await self.head(status, **{"Content_Length": len(body), **headers})
        if not self.bodyless:
            await self.raw(body)

    async def error(self, status: int, code: str, message: str, **headers: str | int) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        await self.answer(status, body, Content_Type="application/json", **headers)

    async def silence(self) -> None:
        """Say nothing until the client has gone."""
        while await self.reader.read(65536):
            pass

    async def endless(self, block: bytes) -> None:
        """Send `block` again and again until the client has gone."""
        while True:
            await self.raw(block)


Handler = Callable[[Request, Stream], Awaitable[bool | None]]


@dataclass
class ScriptedRegistry:
    """The registry; `user` and `password` are wanted if they are set, by token if `tokens` is."""

    user: str = ""
    password: str = ""
    tokens: bool = False
    denied: bool = False  # the token server gives tokens that allow nothing
    ranges: bool = True
    realm: str = ""  # instead of its own token server
    blobs: dict[str, bytes] = field(default_factory=dict)  # by digest, or by repository@digest
    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)  # by repository:tag
    uploads: dict[str, bytearray] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    valid: set[str] = field(default_factory=set)
    on: Handler | None = None
    cut_body_after: int = -1  # bytes of the next upload's body after which the connection breaks
    connections: int = 0  # that are open
    _given: int = 0

    async def __aenter__(self) -> ScriptedRegistry:
        self._closed = asyncio.Event()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def seen(self) -> list[str]:
        """What was asked, but for the first question of all."""
        return [str(request) for request in self.requests if request.path != "/v2/"]

    async def idle(self) -> None:
        """Wait until no connection is open."""
        while self.connections:
            await self._closed.wait()
            self._closed.clear()

    def put(self, name: str, data: bytes, media_type: str = _MANIFEST) -> str:
        """Have a manifest under ``repository:tag`` and under its digest."""
        digest = digest_of(data)
        self.manifests[name] = self.manifests[f"{name.rpartition(':')[0]}:{digest}"] = (data, media_type)
        return digest

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._one(reader, Stream(reader, writer)):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # the client has gone
        finally:
            self.connections -= 1
            self._closed.set()
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, stream: Stream) -> bool:
        start = await reader.readexactly(1)
        if start == b"\x16":  # TLS is not spoken here
            return False
        head = (start + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        parts = urlsplit(target)
        query = {name: " ".join(values) for name, values in parse_qs(parts.query).items()}
        request = Request(method, parts.path, query, headers)
        self.requests.append(request)
        stream.bodyless = method == "HEAD"
        length = int(headers.get("content-length", 0))
        if length and 0 <= self.cut_body_after < length:
            await self._cut(request, await reader.readexactly(self.cut_body_after))
            return False
        request.body = await reader.readexactly(length)
        if self.on is not None and await self.on(request, stream):
            return True
        await self._answer(request, stream)
        return True

    async def _cut(self, request: Request, data: bytes) -> None:
        """Keep what has come and break the connection."""
        self.cut_body_after = -1
        if (upload := self.uploads.get(request.path.rpartition("/")[2])) is not None:
            upload += data

    async def _answer(self, request: Request, stream: Stream) -> None:
        if request.path == "/token":
            return await self._token(request, stream)
        if not self._allowed(request):
            scheme = f'Bearer realm="{self.realm or f"http://{self.host}/token"}",service="test"'
            if self.denied and request.authorization:
                scheme += ',error="insufficient_scope"'
            challenge = scheme if self.tokens else 'Basic realm="test"'
            return await stream.error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge)
        if request.path == "/v2/":
            return await stream.answer(200, b"{}")
        match = re.fullmatch(r"/v2/(.+?)/(manifests|blobs/uploads|blobs|tags)/(.*)", request.path)
        if match is None:
            return await stream.answer(404, b"<html>no such page</html>", Content_Type="text/html")
        name, kind, rest = match.groups()
        answer = {"manifests": self._manifest, "blobs": self._blob, "blobs/uploads": self._upload, "tags": self._tags}
        await answer[kind](name, rest, request, stream)

    def _allowed(self, request: Request) -> bool:
        if self.tokens:
            return not self.denied and request.authorization.removeprefix("Bearer ") in self.valid
        return not self.user or request.authorization == self._basic

    @property
    def _basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    async def _token(self, request: Request, stream: Stream) -> None:
        refresh = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}.get("refresh_token")
        known = request.authorization == self._basic or refresh == "refresh-secret"
        if (request.authorization or refresh) and not known:
            return await stream.answer(401, b'{"details":"incorrect username or password"}')
        self._given += 1
        token = f"token-{self._given}"
        if known or not self.user:
            self.valid.add(token)
        await stream.answer(200, json.dumps({"token": token, "refresh_token": "refresh-secret"}).encode())

    async def _manifest(self, name: str, reference: str, request: Request, stream: Stream) -> None:
        if request.method == "PUT":
            digest = self.put(f"{name}:{reference}", request.body, request.headers["content-type"])
            return await stream.answer(201, Docker_Content_Digest=digest)
        found = self.manifests.get(f"{name}:{reference}")
        if found is None:
            return await stream.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        data, media_type = found
        await stream.head(200, Content_Length=len(data), Content_Type=media_type, Docker_Content_Digest=digest_of(data))
        if request.method == "GET":
            await stream.raw(data)

    async def _blob(self, name: str, digest: str, request: Request, stream: Stream) -> None:
        data = self.blobs.get(digest)
        if data is None:
            return await stream.error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        if request.method == "HEAD":
            return await stream.head(200, Content_Length=len(data))
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", "")) if self.ranges else None
        if match is None:
            return await stream.answer(200, data)
        first, last = int(match[1]), int(match[2])
        await stream.answer(206, data[first : last + 1], Content_Range=f"bytes {first}-{last}/{len(data)}")

    async def _upload(self, name: str, id: str, request: Request, stream: Stream) -> None:
        if request.method == "POST":
            if request.query.get("mount") in self.blobs:
                return await stream.answer(201)
            id = f"upload-{len(self.uploads)}"
            self.uploads[id] = bytearray()
            return await stream.answer(202, Location=f"/v2/{name}/blobs/uploads/{id}?state=a%2Fb%3D")
        upload = self.uploads.get(id)
        if upload is None:
            return await stream.error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown")
        if request.query.get("state") != "a/b=":
            return await stream.error(400, "BLOB_UPLOAD_INVALID", "the state was lost")
        if request.method == "PATCH" and int(request.headers["content-range"].partition("-")[0]) != len(upload):
            return await stream.answer(416)
        upload += request.body
        where = f"http://{self.host}/v2/{name}/blobs/uploads/{id}?state=a%2Fb%3D"
        if request.method != "PUT":
            status = 204 if request.method == "GET" else 202
            return await stream.answer(status, Location=where, Range=f"0-{max(len(upload) - 1, 0)}")
        digest = request.query["digest"]
        if digest_of(bytes(upload), digest.partition(":")[0]) != digest:
            return await stream.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.blobs[digest] = bytes(self.uploads.pop(id))
        await stream.answer(201, Docker_Content_Digest=digest)

    async def _tags(self, name: str, rest: str, request: Request, stream: Stream) -> None:
        tags = sorted(
            tag for repository, _, tag in (key.partition(":") for key in self.manifests) if repository == name
        )
        await stream.answer(200, json.dumps({"name": name, "tags": [tag for tag in tags if ":" not in tag]}).encode())
