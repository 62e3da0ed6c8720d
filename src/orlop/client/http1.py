"""HTTP/1.1 as a client of one daemon needs it (RFC 9112), without I/O: request heads out, answers in.

A library was measured first: importing h11 takes 25 ms, as long as all of the client that ``orlop ps`` loads (see
`docs/dependencies.md`). What is here is the client's half only: no pipelining, and a body framed by length, by chunks
or by the end of the connection.
"""

from __future__ import annotations

from collections.abc import Iterable

from orlop.errors import Error

__all__ = ["LAST_CHUNK", "AnswerParser", "Head", "chunk", "request_head"]

LAST_CHUNK = b"0\r\n\r\n"
_HEAD_LIMIT = 1 << 17
_LINE_LIMIT = 1 << 12


def request_head(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return a request line with its headers; raise ValueError when a value would break out of its line."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header must not contain line breaks")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the pieces of one chunk of a chunked body."""
    return b"%x\r\n" % len(data), data, b"\r\n"


class Head:
    """Status line and headers of an answer; header names are in lower case."""

    __slots__ = ("headers", "reason", "status")

    def __init__(self, status: int, reason: str, headers: dict[str, str]) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers


class AnswerParser:
    """Reads the answer to one request from whatever pieces it arrives in.

    Feed bytes (`feed`, an empty piece is the end of the connection), then ask for the `head` and for what the body has
    so far (`body`). After `finished`, or for a connection that switched to a raw stream, `rest` is what came behind.
    """

    def __init__(self, method: str) -> None:
        self.head: Head | None = None
        self.finished = False
        self.keep_alive = False
        self._method = method
        self._buffer = bytearray()
        self._ended = False
        self._left: int | None = 0  # bytes of the body or of the chunk that are still to come; None: until the end
        self._chunked = False
        self._in_trailer = False

    @property
    def rest(self) -> bytes:
        """The bytes that were received and not consumed."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take what was received; raise `Error` when it is no HTTP or ends too early."""
        self._buffer += data
        self._ended = not data
        if self.head is None:
            self._read_head()
        if self._ended and not self.finished:
            if self.head is None:
                raise Error("error during connect: the daemon closed the connection without an answer")
            if self._left is not None or self._chunked:
                raise Error("unexpected EOF")

    def body(self) -> bytes:
        """Return the part of the body that has arrived since the last call."""
        if self.head is None or self.finished:
            return b""
        if not self._chunked:
            return self._plain_body()
        parts: list[bytes] = []
        position = 0
        while not self.finished:
            following = self._chunk_step(position, parts)
            if following is None:
                break
            position = following
        del self._buffer[:position]
        return b"".join(parts)

    def _plain_body(self) -> bytes:
        data = bytes(self._buffer if self._left is None else self._buffer[: self._left])
        del self._buffer[: len(data)]
        if self._left is None:
            self.finished = self._ended
        else:
            self._left -= len(data)
            self.finished = self._left == 0
        return data

    def _chunk_step(self, position: int, parts: list[bytes]) -> int | None:
        """Consume one element of a chunked body; return the position behind it, None when it is not all there."""
        if self._left:
            piece = bytes(self._buffer[position : position + self._left])
            if not piece:
                return None
            parts.append(piece)
            self._left -= len(piece)
            return position + len(piece)
        end = self._buffer.find(b"\r\n", position)
        if end < 0:
            if len(self._buffer) - position > _LINE_LIMIT:
                raise Error("malformed HTTP response: a chunk's line has no end")
            return None
        line = bytes(self._buffer[position:end])
        if self._in_trailer:
            self.finished = not line
        elif line:  # an empty line is the end of the chunk before
            size = _chunk_size(line)
            self._left = size
            self._in_trailer = size == 0
        return end + 2

    def _read_head(self) -> None:
        while self.head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _HEAD_LIMIT:
                    raise Error("malformed HTTP response: the head has no end")
                return
            head = _parse_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            if head.status >= 200 or head.status == 101:  # others of the 1xx only announce the answer
                self.head = head
                self._choose_framing(head)

    def _choose_framing(self, head: Head) -> None:
        self.keep_alive = head.headers.get("connection", "").lower() != "close"
        length = head.headers.get("content-length")
        if self._method == "HEAD" or head.status in (101, 204, 304):
            self.finished = True
        elif "chunked" in head.headers.get("transfer-encoding", "").lower():
            self._chunked = True
        elif length is None:
            self._left = None
            self.keep_alive = False
        elif length.isdecimal():
            self._left = int(length)
            self.finished = self._left == 0
        else:
            raise Error(f"malformed HTTP response: content length {length!r}")


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        size = int(digits, 16)
    except ValueError:
        size = -1
    if size < 0 or b"_" in digits:
        raise Error(f"malformed HTTP response: chunk size {line[:40]!r}")
    return size


def _parse_head(data: bytes) -> Head:
    first, *lines = data.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    code, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or len(code) != 3 or not code.isdecimal():
        raise Error(f"error during connect: malformed HTTP response {first[:60]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, separator, value = line.partition(":")
        if not separator:
            raise Error(f"malformed HTTP response: header {line[:60]!r}")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(int(code), reason, headers)
