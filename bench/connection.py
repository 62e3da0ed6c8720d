"""A small HTTP client for an engine's socket: one request at a time, kept alive, with hijacked streams."""

from __future__ import annotations

import json
import socket
from io import BufferedReader
from typing import Any, cast

__all__ = ["Connection"]

VERSION = "/v1.41"  # spoken by every engine since 2020


class Connection:
    """A connection to an engine."""

    def __init__(self, path: str, timeout: float = 300) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.file = cast(BufferedReader, self.socket.makefile("rb", 1 << 16))

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def send(self, method: str, path: str, body: object = None, **headers: str) -> None:
        """Send a request; a body that is not bytes is sent as JSON."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {VERSION}{path} HTTP/1.1", "Host: engine", f"Content-Length: {len(data)}"]
        if body is not None:
            lines.append("Content-Type: application/json")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data)

    def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of an answer."""
        words = self.file.readline().split(None, 2)
        if len(words) < 2:
            raise ConnectionError("the engine closed the connection")
        headers = {}
        while (line := self.file.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            headers[name.strip().lower().decode()] = value.strip().decode()
        return int(words[1]), headers

    def body(self, status: int, headers: dict[str, str]) -> bytes:
        """Read the rest of an answer."""
        if status in (204, 304):
            return b""
        if "chunked" not in headers.get("transfer-encoding", "").lower():
            length = headers.get("content-length")
            return self.file.read(int(length)) if length is not None else self.file.read()
        parts = []
        while size := int(self.file.readline().partition(b";")[0], 16):
            parts.append(self.file.read(size))
            self.file.readline()
        self.file.readline()
        return b"".join(parts)

    def request(self, method: str, path: str, body: object = None, allow: tuple[int, ...] = ()) -> bytes:
        """Make a request that has to succeed, or end with a status that is allowed."""
        self.send(method, path, body)
        status, headers = self.head()
        data = self.body(status, headers)
        if status >= 400 and status not in allow:
            raise RuntimeError(f"{method} {path}: {status} {data[:300]!r}")
        return data

    def json(self, method: str, path: str, body: object = None) -> Any:
        """Make a request and return its JSON."""
        return json.loads(self.request(method, path, body))

    def hijack(self, path: str, body: object = None) -> None:
        """Turn the connection into a raw stream."""
        self.send("POST", path, body if body is not None else b"", Connection="Upgrade", Upgrade="tcp")
        status, headers = self.head()
        if status not in (101, 200):
            raise RuntimeError(f"hijack of {path}: {status} {self.body(status, headers)[:300]!r}")

    def drain(self) -> int:
        """Read a stream to its end; return how many bytes came."""
        buffer, total = memoryview(bytearray(1 << 20)), 0
        while count := self.file.readinto1(buffer):
            total += count
        return total
