"""HTTP/1.1 answers, in whatever pieces they arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.client.http1 import AnswerParser, chunk, request_head
from orlop.errors import Error

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
cuts = st.lists(st.integers(1, 40), max_size=30)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    found = []
    for size in sizes:
        found.append(data[:size])
        data = data[size:]
    return [piece for piece in [*found, data] if piece]


def read(parser: AnswerParser, data: list[bytes]) -> bytes:
    body = b""
    for piece in data:
        parser.feed(piece)
        body += parser.body()
    return body


@given(st.binary(max_size=200), cuts)
def test_a_body_with_a_length_ends_there_and_leaves_the_rest(body: bytes, sizes: list[int]) -> None:
    parser = AnswerParser("GET")
    data = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body + b"behind"
    assert read(parser, pieces(data, sizes)) == body
    assert parser.finished
    assert parser.rest == b"behind"


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), cuts)
def test_a_chunked_body_is_put_together(parts: list[bytes], sizes: list[int]) -> None:
    parser = AnswerParser("GET")
    data = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    data += b"".join(b"".join(chunk(part)) for part in parts) + b"0;last\r\nTrailer: x\r\n\r\n"
    assert read(parser, pieces(data, sizes)) == b"".join(parts)
    assert parser.finished
    assert parser.keep_alive


@given(st.binary(max_size=100), cuts)
def test_a_body_without_a_length_ends_with_the_connection(body: bytes, sizes: list[int]) -> None:
    parser = AnswerParser("GET")
    assert read(parser, [*pieces(HEAD + b"\r\n" + body, sizes), b""]) == body
    assert parser.finished
    assert not parser.keep_alive


@pytest.mark.parametrize(
    ("method", "status"),
    [("HEAD", "200 OK"), ("GET", "304 Not Modified"), ("POST", "204 No Content"), ("POST", "101 UPGRADED")],
)
def test_some_answers_have_no_body_whatever_their_headers_say(method: str, status: str) -> None:
    parser = AnswerParser(method)
    parser.feed(f"HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\nraw".encode())
    assert parser.finished
    assert parser.body() == b""
    assert parser.rest == b"raw"


def test_announcements_before_the_answer_are_skipped_and_headers_joined() -> None:
    parser = AnswerParser("GET")
    parser.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n")
    assert parser.head is not None
    assert (parser.head.status, parser.head.reason, parser.head.headers["x-a"]) == (404, "Not Found", "1, 2")


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2 OK\r\n\r\n",
        HEAD + b"no colon\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        b"x" * (1 << 18),
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(Error, match="malformed"):
        AnswerParser("GET").feed(data)


@pytest.mark.parametrize("line", [b"xyz\r\n", b"-5\r\n", b"1_0\r\n", b"1" * 5000])
def test_malformed_chunks_are_refused(line: bytes) -> None:
    parser = AnswerParser("GET")
    parser.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + line)
    with pytest.raises(Error, match="malformed"):
        parser.body()


@pytest.mark.parametrize(
    "data", [b"", HEAD + b"Content-Length: 5\r\n\r\nabc", HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"]
)
def test_an_answer_that_breaks_off_is_an_error(data: bytes) -> None:
    parser = AnswerParser("GET")
    if data:
        parser.feed(data)
        parser.body()
    with pytest.raises(Error):
        parser.feed(b"")


@given(st.binary(max_size=300), cuts)
def test_hostile_bytes_raise_nothing_but_the_known_error(data: bytes, sizes: list[int]) -> None:
    parser = AnswerParser("GET")
    try:
        read(parser, [*pieces(HEAD + data, sizes), b""])
    except Error:
        pass


def test_a_header_cannot_break_out_of_its_line() -> None:
    with pytest.raises(ValueError, match="line breaks"):
        request_head("GET", "/", [("A", "b\r\nC: d")])
