"""A client of the API that speaks bytes, and notes of what an engine was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Calls", "Fake", "Reply", "Wire", "message"]


@dataclass
class Reply:
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json()["message"])


@dataclass
class Wire:
    """One connection. Headers are read by name in lower case."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, path: Path) -> Wire:
        return cls(*await asyncio.open_unix_connection(str(path)))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        await self.send(message(method, path, body, headers))
        return await self.reply(method)

    async def head(self) -> Reply:
        """Read the head of an answer."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        return Reply(int(lines[0].split()[1]), headers, b"")

    async def reply(self, method: str = "GET") -> Reply:
        """Read a whole answer."""
        reply = await self.head()
        if method == "HEAD" or reply.status in (101, 204, 304):
            return reply
        if reply.headers.get("transfer-encoding") == "chunked":
            while block := await self.chunk():
                reply.body += block
        else:
            reply.body = await self.reader.readexactly(int(reply.headers["content-length"]))
        return reply

    async def chunk(self) -> bytes:
        """Read one piece of a chunked body."""
        size = int((await self.reader.readline()).partition(b";")[0], 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def rest(self) -> bytes:
        return await self.reader.read()

    def end_writing(self) -> None:
        self.writer.write_eof()

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


def message(method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> bytes:
    """Return the bytes of a request; `body` is bytes or becomes JSON."""
    fields = {"Host": "docker", **(headers or {})}
    data = b""
    if body is not None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"Content-Type": "application/json", "Content-Length": str(len(data)), **fields}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode() + data


@dataclass
class Calls:
    """What the engine was asked, in order."""

    seen: list[dict[str, Any]] = field(default_factory=list)

    @property
    def last(self) -> dict[str, Any]:
        return self.seen[-1]


Fake = Callable[..., Calls]
