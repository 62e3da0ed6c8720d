"""Registries that lie, stall, flood and lead astray: a clear error, bounded memory, no connection left open."""

from __future__ import annotations

import asyncio
import json
import random
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from orlop.errors import Error
from orlop.formats.reference import parse
from orlop.model.oci import media
from orlop.model.oci.documents import Descriptor, Manifest, encode
from orlop.registry.client.client import RegistryClient
from orlop.registry.client.config import Patience, RegistryConfig
from orlop.registry.client.credentials import Credentials
from orlop.registry.client.repository import Repository
from support.scripted_registry import Request, ScriptedRegistry, Stream, digest_of

HASTY = Patience(connect=1, answer=1, stall=0.4, commit=1, attempts=2, backoff=0.01)
MEMORY = 96 << 20
BLOB = random.Random(2).randbytes(500_000)
LAYER = Descriptor(media_type=media.OCI_LAYER_GZIP, digest=digest_of(BLOB), size=len(BLOB))
MANIFEST = encode(Manifest(media_type=media.OCI_MANIFEST, config=LAYER, layers=(LAYER,)))
JUNK = b"x" * (256 << 10)
ME = Credentials("me", "pa55word", "", "")

Script = Callable[[Request, Stream], Awaitable[bool | None]]
Action = Callable[[Repository], Awaitable[Any]]


async def get_manifest(repository: Repository) -> None:
    await repository.manifest("latest")


async def get_blob(repository: Repository) -> None:
    async with repository.open_blob(LAYER) as stream:
        async for _ in stream:
            pass


async def upload(repository: Repository) -> None:
    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(64):  # more than what sockets hold
            yield JUNK

    descriptor = Descriptor(media_type=media.OCI_LAYER, digest=digest_of(JUNK * 64), size=64 * len(JUNK))
    await repository.upload(descriptor, blocks, lambda _: None)


def attacked(action: Action, script: Script, credentials: Credentials | None = None, **fields: Any) -> str:
    """Let a client meet a registry that follows `script`; return the error's text."""

    async def main() -> str:
        async with ScriptedRegistry(on=script, **fields) as registry:
            registry.put("app:latest", MANIFEST)
            async with RegistryClient(RegistryConfig(patience=HASTY), credentials) as client:
                with pytest.raises(Error) as caught:
                    await action(client.repository(parse(f"{registry.host}/app")))
            async with asyncio.timeout(20):
                await registry.idle()
            return str(caught.value).replace(registry.host, "HOST")

    tracemalloc.start()
    try:
        text = asyncio.run(main())
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert len(text) < 4096
    assert "pa55word" not in text
    return text


def at(part: str, answer: Callable[[Stream], Awaitable[None]]) -> Script:
    """Answer so whatever is asked for below a path with `part` in it."""

    async def script(request: Request, stream: Stream) -> bool:
        if part not in request.path:
            return False
        await answer(stream)
        return True

    return script


def said(status: int, body: bytes = b"", **headers: str | int) -> Callable[[Stream], Awaitable[None]]:
    return lambda stream: stream.answer(status, body, **headers)


def endless(status: int = 200, **headers: str | int) -> Callable[[Stream], Awaitable[None]]:
    async def answer(stream: Stream) -> None:
        await stream.head(status, Connection="close", **headers)
        await stream.endless(JUNK)

    return answer


async def silence(stream: Stream) -> None:
    await stream.silence()


async def trickle(stream: Stream) -> None:
    await stream.head(200, Content_Length=len(BLOB))
    while True:
        await stream.raw(b"x")
        await asyncio.sleep(0.05)


async def hang_up(stream: Stream) -> None:
    await stream.head(200, Content_Length=len(BLOB), Content_Type=media.OCI_MANIFEST)
    await stream.raw(BLOB[:100_000])
    stream.writer.close()


async def other_protocol(stream: Stream) -> None:
    await stream.raw(b"SSH-2.0-OpenSSH_9.2\r\n")
    stream.writer.close()


async def many_headers(stream: Stream) -> None:
    await stream.raw(b"HTTP/1.1 200 OK\r\n")
    await stream.endless(b"X-Junk: " + b"x" * 1000 + b"\r\n")


async def long_header(stream: Stream) -> None:
    await stream.raw(b"HTTP/1.1 200 OK\r\nX-Junk: ")
    await stream.endless(JUNK)


async def long_status(stream: Stream) -> None:
    await stream.raw(b"HTTP/1.1 200 ")
    await stream.endless(JUNK)


def entries(count: int) -> bytes:
    layer = {"mediaType": "a", "digest": digest_of(b""), "size": 1}
    return json.dumps({"schemaVersion": 2, "config": layer, "layers": [layer] * count}).encode()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (said(200, MANIFEST, Docker_Content_Digest=digest_of(b"other")), "manifest verification failed for digest"),
        (said(200, MANIFEST, Docker_Content_Digest="md5:abc"), "digest"),
        (said(200, MANIFEST, Content_Type=media.OCI_INDEX), "was sent as"),
        (said(200, entries(20_000), Content_Type=media.OCI_MANIFEST), "more than 10000 layers"),
        (said(200, b"[" * 1_000_000), "invalid manifest"),
        (endless(), "more than 4194304 bytes"),
        (endless(Content_Length=1 << 60), "more than 4194304 bytes"),
        (endless(Transfer_Encoding="chunked"), ""),
        (endless(404), "more than 65536 bytes"),
        (endless(500), "more than 65536 bytes"),
        (hang_up, "unexpected EOF"),
        (silence, "Client.Timeout exceeded"),
        (trickle, "Client.Timeout exceeded"),
        (other_protocol, "malformed HTTP response"),
        (many_headers, "malformed HTTP response"),
        (long_header, "malformed HTTP response"),
        (long_status, "malformed HTTP response"),
    ],
)
def test_a_manifest_that_is_an_attack_is_refused(answer: Callable[[Stream], Awaitable[None]], text: str) -> None:
    assert text in attacked(get_manifest, at("/manifests/", answer))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (said(200, BLOB + b"x"), f"has {len(BLOB) + 1} bytes at HOST, but its manifest says {len(BLOB)}"),
        (said(200, BLOB[:-1]), f"has {len(BLOB) - 1} bytes at HOST, but its manifest says {len(BLOB)}"),
        (endless(), f"has more bytes than {len(BLOB)}"),
        (endless(Content_Length=1 << 60), f"has {1 << 60} bytes at HOST"),
        (hang_up, "unexpected EOF"),
        (silence, "Client.Timeout exceeded"),
        (trickle, "less than 128 bytes a second arrive"),
    ],
)
def test_a_blob_that_is_an_attack_is_refused(answer: Callable[[Stream], Awaitable[None]], text: str) -> None:
    assert text in attacked(get_blob, at("/blobs/", answer))


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("/v2/app/blobs/again", "stopped after 10 redirects"),
        ("", "has no Location"),
        ("file:///etc/passwd", "invalid address"),
        ("ftp://127.0.0.1/x", "invalid address"),
        ("http://me:word@127.0.0.1/", "credentials in it"),
        ("http://127.0.0.1:99999/", "invalid address"),
        ("http://127.0.0.1:1/x", "connection refused"),
        ("/" + "x" * 7000, "stopped after 10 redirects"),
    ],
)
def test_a_redirect_leads_somewhere_or_is_refused(location: str, text: str) -> None:
    async def redirect(request: Request, stream: Stream) -> bool:
        if request.path == "/v2/":
            return False
        await stream.answer(307, b"x" * 1000, Location=location)
        return True

    assert text in attacked(get_blob, redirect)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (endless(), "more than 1048576 bytes"),
        (endless(401), "more than 1048576 bytes"),
        (silence, "Client.Timeout exceeded"),
        (said(200, b"<html>"), "unable to decode token response"),
        (said(200, b"{}"), "did not include a token"),
        (said(200, b'{"token":"a\\r\\nX-Evil: yes"}'), "did not include a valid token"),
        (said(200, b'{"token":"x","expires_in":1e999}'), "unable to decode token response"),
        (said(200, b'{"token":' + b"[" * 100_000), "unable to decode token response"),
        (said(403, b"no"), "error parsing HTTP 403 response body"),
    ],
)
def test_a_token_server_that_is_an_attack_is_refused(answer: Callable[[Stream], Awaitable[None]], text: str) -> None:
    assert text in attacked(get_manifest, at("/token", answer), ME, tokens=True, user="me", password="pa55word")


@pytest.mark.parametrize(
    ("realm", "text"),
    [
        ("http://tokens.invalid/token", "names a token server that is not encrypted: http://tokens.invalid/token"),
        ("http://127.0.0.1.nip.invalid/token", "not encrypted"),
        ("https://tokens.invalid/token", "no such host"),
        ("https://me:word@tokens.invalid/", "credentials in it"),
        ("ftp://127.0.0.1/", "invalid address"),
        ("file:///etc/passwd", "invalid address"),
        ("/token", "invalid address"),
        ("http://127.0.0.1:1/token", "connection refused"),
        ("http:// 127.0.0.1/", "invalid address"),
    ],
)
@pytest.mark.parametrize("credentials", [ME, None, Credentials(identity_token="pa55word")])
def test_a_realm_gets_nothing_that_it_must_not_have(realm: str, text: str, credentials: Credentials | None) -> None:
    async def nothing(request: Request, stream: Stream) -> None:
        assert "pa55word" not in str(request)

    assert text in attacked(get_manifest, nothing, credentials, tokens=True, user="me", realm=realm)


@pytest.mark.parametrize(
    ("method", "answer", "text"),
    [
        ("POST", said(202), "has no Location"),
        ("POST", said(202, Location="file:///etc/passwd"), "invalid address"),
        ("POST", said(500), "500 Internal Server Error"),
        ("PUT", said(201, Docker_Content_Digest=digest_of(b"other")), "the registry has stored"),
        ("PUT", said(202), "202 Accepted"),
        ("PUT", said(413), "HTTP 413"),
        ("PUT", endless(400), "more than 65536 bytes"),
        ("PUT", silence, "Client.Timeout exceeded"),
    ],
)
def test_an_upload_to_an_attacker_ends(method: str, answer: Callable[[Stream], Awaitable[None]], text: str) -> None:
    async def script(request: Request, stream: Stream) -> bool:
        if request.method == "PATCH":
            await stream.answer(413)
            return True
        if request.method != method or "/uploads/" not in request.path:
            return False
        await answer(stream)
        return True

    assert text in attacked(upload, script)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "Client.Timeout exceeded"),
        (b"HTTP/1.1 413 No\r\nContent-Length: 9\r\n\r\ntoo large", "error parsing HTTP 413 response body"),
        (b"HTTP/1.1 400 No\r\nContent-Length: 900\r\n\r\n", "Client.Timeout exceeded"),
    ],
)
def test_a_registry_that_reads_no_upload_is_given_up(answer: bytes, text: str) -> None:
    async def main() -> str:
        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.read(4096)
            if head.startswith(b"GET"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            elif head.startswith(b"POST"):
                writer.write(b"HTTP/1.1 202 OK\r\nContent-Length: 0\r\nLocation: /up\r\nConnection: close\r\n\r\n")
            elif head.startswith((b"PUT", b"PATCH")):
                writer.write(answer)
                await ended.wait()
            writer.close()

        ended = asyncio.Event()
        server = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=4096)
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, RegistryClient(RegistryConfig(patience=HASTY)) as client:
            with pytest.raises(Error) as caught:
                await upload(client.repository(parse(f"{host}/app")))
            ended.set()
        return str(caught.value)

    assert text in asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "link", "text"),
    [
        (b'{"tags":["../../other"]}', "", "invalid list of tags"),
        (b'{"tags":{}}', "", "invalid list of tags"),
        (b'{"tags":[]}', '</v2/app/tags/list?n=1>; rel="next"', "more than 1000 pages"),
    ],
)
def test_a_list_of_tags_is_not_believed(body: bytes, link: str, text: str) -> None:
    assert text in attacked(lambda repository: repository.tags(), at("/tags/", said(200, body, Link=link)))
