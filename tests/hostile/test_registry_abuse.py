"""Clients that mean ill, or are broken, meet Orlop's registry: clear errors, bounded memory, nothing left behind."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orlop.registry.server.access import Everybody
from orlop.registry.server.server import Server
from orlop.registry.storage.local import LocalStorage
from support.orlop_registry import OrlopRegistry, digest_of, orlop_registry

INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(scope="module")
def registry() -> Iterator[OrlopRegistry]:
    with orlop_registry() as running:
        yield running


def raw(registry: OrlopRegistry, data: bytes, *, leave: bool = False) -> bytes:
    """Send bytes and return all that comes back until the server hangs up; with `leave` hang up at once."""
    with registry.connect() as sock:
        answer = b""
        try:
            sock.sendall(data)
            while not leave and (block := sock.recv(65536)):
                answer += block
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has heard enough
        return answer


@pytest.mark.parametrize(
    "path",
    [
        "/v2/../../etc/passwd",
        "/v2/%2e%2e/%2e%2e/etc/blobs/uploads/",
        "/v2/a/../../x/tags/list",
        "/v2/a/blobs/sha256:../../../etc/passwd",
        "/v2/a/blobs/sha256:%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/v2/a/manifests/..",
        "/v2/a/manifests/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/v2/a/manifests/sha256:" + "A" * 64,
        "/v2/a/referrers/..",
        "/v2/a/blobs/uploads/..",
        "/v2/a/blobs/uploads/%2e%2e%2f%2e%2e",
        "/v2/a/blobs/uploads/" + "x" * 5000,
        "/v2/a\0b/tags/list",
        "//etc/passwd",
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_no_path_leads_out_of_the_root(registry: OrlopRegistry, method: str, path: str) -> None:
    registry.push_image("a", "v1")
    before = sorted(registry.root.rglob("*"))
    answer = raw(registry, f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.split()[1] in (b"400", b"404", b"405"), answer
    assert b"root:" not in answer
    assert sorted(registry.root.rglob("*")) == before


def test_links_in_the_root_are_not_followed(registry: OrlopRegistry) -> None:
    digest = registry.push_blob("links", b"blob")
    content = registry.root / "content/sha256" / digest.removeprefix("sha256:")
    content.unlink()
    content.symlink_to("/etc/passwd")
    registry.push_image("links", "v1")
    tag = registry.root / "repositories/links/tags/v1"
    tag.unlink()
    tag.symlink_to("/etc/hostname")
    repository = registry.root / "repositories/other"
    repository.symlink_to(registry.root / "repositories/links")
    try:
        for path in (f"links/blobs/{digest}", "links/manifests/v1", "other/tags/list"):
            answer = registry.request("GET", f"/v2/{path}")
            assert (answer.status, answer.codes) == (500, ["UNKNOWN"])
    finally:
        for link in (content, tag, repository):
            link.unlink()
        registry.log.write_text("")  # tracebacks are what this test asked for


def test_documents_with_too_many_entries_or_too_deep_are_refused(registry: OrlopRegistry) -> None:
    entry = {"mediaType": "a/b", "digest": f"sha256:{'0' * 64}", "size": 1}
    many = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] * 100_000}, separators=(",", ":"))
    assert registry.push("many", "v1", many.encode(), INDEX).status == 413
    fewer = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] * 30_000}, separators=(",", ":"))
    answer = registry.push("many", "v1", fewer.encode(), INDEX)
    assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])
    missing = [{**entry, "digest": f"sha256:{number:064}"} for number in range(10_000)]
    answer = registry.push("many", "v1", {"schemaVersion": 2, "mediaType": INDEX, "manifests": missing}, INDEX)
    assert (answer.status, len(answer.codes)) == (400, 100)
    for deep in (b"[" * 1_000_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000):
        for media_type in (INDEX, "application/vnd.example+json"):
            assert registry.push("deep", "v1", deep, media_type).codes == ["MANIFEST_INVALID"]
    flat = b'{"x":[' + b",".join([b"{}"] * 1_300_000) + b"]}"
    assert registry.push("flat", "v1", flat, "application/vnd.example+json").status == 201


def test_a_body_that_ends_early_leaves_an_upload_that_can_go_on(registry: OrlopRegistry) -> None:
    location = registry.request("POST", "/v2/short/blobs/uploads/").headers["Location"]
    for before, framing, body in (
        ("0-0", "Content-Length: 100", b"x" * 10),
        ("0-9", "Transfer-Encoding: chunked", b"a\r\n" + b"x" * 10),
    ):
        raw(registry, f"PATCH {location} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode() + body, leave=True)
        while registry.request("GET", location).headers["Range"] == before:
            pass
    assert registry.request("PUT", f"{location}?digest={digest_of(b'x' * 20)}").status == 201


def test_what_stands_behind_a_body_is_a_request_of_its_own(registry: OrlopRegistry) -> None:
    location = registry.request("POST", "/v2/long/blobs/uploads/").headers["Location"]
    head = f"PUT {location}?digest={digest_of(b'abc')} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n".encode()
    answer = raw(registry, head + b"abcdef\r\n\r\n")
    assert answer.split()[1] == b"400"
    answer = raw(registry, head + b"abcGET /v2/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert [part.split()[0] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"201", b"404"]
    assert registry.request("GET", f"/v2/long/blobs/{digest_of(b'abc')}").body == b"abc"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /v2/?" + b"y" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        b"PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GARBAGE\r\n\r\n",
        b"\0" * 5000,
    ],
)
def test_what_is_not_http_is_answered_and_cut_off(registry: OrlopRegistry, head: bytes) -> None:
    answer = raw(registry, head)
    assert answer == b"" or answer.split()[1] == b"400", answer[:200]
    assert registry.answers()


def test_a_manifest_without_end_is_refused_at_its_limit(registry: OrlopRegistry) -> None:
    with registry.connect() as sock:
        sock.sendall(b"PUT /v2/endless/manifests/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"10000\r\n" + b" " * 65536 + b"\r\n"
        try:
            for _ in range(64 << 4):
                sock.sendall(block)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            pass
        assert sock.recv(100).startswith(b"HTTP/1.1 413 ")


def test_many_clients_at_once_that_go_in_the_middle_of_everything_do_no_harm(registry: OrlopRegistry) -> None:
    digest = registry.push_blob("gone", b"z" * (8 << 20))

    def leave(number: int) -> None:
        with registry.connect() as sock:
            if number % 2:
                sock.sendall(f"GET /v2/gone/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                sock.recv(1000)
            else:
                sock.sendall(b"POST /v2/gone/blobs/uploads/?digest=" + digest.encode() + b" HTTP/1.1\r\nHost: x\r\n")
                sock.sendall(b"Content-Length: 8388608\r\n\r\n" + b"z" * 100_000)

    threads = [threading.Thread(target=leave, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.request("GET", f"/v2/gone/blobs/{digest}").body == b"z" * (8 << 20)
    assert registry.process is not None
    while len(list(Path(f"/proc/{registry.process.pid}/fd").iterdir())) > 30:
        assert registry.answers()


@asynccontextmanager
async def impatient(tmp_path: Path) -> AsyncIterator[Path]:
    """Run a server in this process that has half a second for everything."""
    storage = LocalStorage.open(tmp_path / "root")
    server = Server(storage, Everybody(), stalled=0.5, idle=0.5)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(tmp_path / "sock"))
    await server.listen(sock)
    try:
        yield tmp_path / "sock"
    finally:
        await server.close(1)
        await storage.close()


@pytest.mark.parametrize(
    ("beginning", "drop"),
    [(b"", b""), (b"GET /v2/ HTTP/1.1\r\nX: ", b"y"), (b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/", b"y")],
)
async def test_a_client_that_is_slow_with_its_head_is_cut_off(tmp_path: Path, beginning: bytes, drop: bytes) -> None:
    async with impatient(tmp_path) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(beginning)

        async def trickle() -> None:
            while not writer.is_closing():
                writer.write(drop)
                await asyncio.sleep(0.05)

        slow = asyncio.create_task(trickle())
        answer = await asyncio.wait_for(reader.read(), 60)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 200 ")
        slow.cancel()
        writer.close()


async def test_a_client_that_is_silent_in_a_body_is_cut_off_and_its_upload_stays(tmp_path: Path) -> None:
    async with impatient(tmp_path) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        location = head.partition("Location: ")[2].partition("\r\n")[0]
        writer.write(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhello".encode())
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(f"GET {location} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert b"Range: 0-4\r\n" in await reader.read()
        writer.close()
