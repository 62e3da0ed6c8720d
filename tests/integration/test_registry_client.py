"""The registry client against a registry that does what a test tells it to, and against Debian's docker-registry."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orlop.errors import Error
from orlop.formats.reference import Reference, parse
from orlop.model.oci import media
from orlop.model.oci.documents import Descriptor, Manifest, encode
from orlop.registry.client.client import RegistryClient
from orlop.registry.client.config import Patience, RegistryConfig
from orlop.registry.client.credentials import Credentials
from orlop.registry.client.repository import Repository
from support.certificates import Authority
from support.scripted_registry import Request, ScriptedRegistry, Stream, digest_of

IMPATIENT = Patience(connect=5, answer=5, stall=5, commit=5, attempts=3, backoff=0.01, longest_wait=2)
BLOB = random.Random(1).randbytes(300_000)
ME = Credentials("me", "pa55word")

Action = Callable[[Repository], Awaitable[Any]]


def described(data: bytes, algorithm: str = "sha256") -> Descriptor:
    return Descriptor(media_type=media.OCI_LAYER_GZIP, digest=digest_of(data, algorithm), size=len(data))


def opened(data: bytes, block: int = 10_000) -> Callable[[], AsyncIterator[bytes]]:
    async def blocks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), block):
            yield data[start : start + block]

    return blocks


MANIFEST = encode(Manifest(media_type=media.OCI_MANIFEST, config=described(b"{}"), layers=(described(BLOB),)))


async def talk(
    registry: ScriptedRegistry,
    action: Action,
    credentials: Credentials | None = None,
    *,
    patience: Patience = IMPATIENT,
    **settings: Any,
) -> Any:
    """Let a client do something in the repository ``some/app``."""
    async with RegistryClient(RegistryConfig(patience=patience, **settings), credentials) as client:
        return await action(client.repository(parse(f"{registry.host}/some/app")))


def with_registry(
    action: Action, credentials: Credentials | None = None, **fields: Any
) -> tuple[Any, ScriptedRegistry]:
    """Let a client do something in a registry with `fields`; return the result, or the error, and the registry."""

    async def main() -> tuple[Any, ScriptedRegistry]:
        async with ScriptedRegistry(**fields) as registry:
            registry.put("some/app:latest", MANIFEST)
            registry.blobs[digest_of(BLOB)] = BLOB
            try:
                return await talk(registry, action, credentials), registry
            except Error as error:
                return error, registry

    return asyncio.run(main())


async def fetch(repository: Repository, offset: int = 0, descriptor: Descriptor | None = None) -> tuple[int, bytes]:
    async with repository.open_blob(descriptor or described(BLOB), offset) as stream:
        return stream.offset, b"".join([block async for block in stream])


async def pull(repository: Repository) -> bytes:
    manifest = await repository.manifest("latest")
    assert manifest.data == MANIFEST
    return (await fetch(repository))[1]


async def push(repository: Repository, data: bytes = BLOB + b"new") -> list[int]:
    told: list[int] = []
    await repository.upload(described(data), opened(data), told.append)
    return told


# Authorization


def test_a_token_is_fetched_once_and_used_for_all() -> None:
    result, registry = with_registry(pull, tokens=True)
    assert result == BLOB
    asked = [request for request in registry.requests if request.path == "/token"]
    assert [request.query for request in asked] == [{"service": "test", "scope": "repository:some/app:pull"}]
    assert not asked[0].authorization
    assert {request.authorization for request in registry.requests[2:]} == {"Bearer token-1"}


def test_a_user_gets_a_token_by_name_and_password() -> None:
    result, registry = with_registry(push, ME, tokens=True, user="me", password="pa55word")
    assert not isinstance(result, Error)
    (asked,) = [request for request in registry.requests if request.path == "/token"]
    assert asked.query == {"service": "test", "scope": "repository:some/app:pull,push", "account": "me"}


def test_a_user_gets_a_token_by_the_token_of_a_login() -> None:
    credentials = Credentials(identity_token="refresh-secret")
    result, registry = with_registry(pull, credentials, tokens=True, user="me", password="x")
    assert result == BLOB
    (asked,) = [request for request in registry.requests if request.path == "/token"]
    assert asked.method == "POST"
    assert b"grant_type=refresh_token" in asked.body


def test_a_token_for_the_registry_itself_is_used_as_it_is() -> None:
    result, registry = with_registry(pull, Credentials(registry_token="given"), tokens=True, valid={"given"})
    assert result == BLOB
    assert not [request for request in registry.requests if request.path == "/token"]


@pytest.mark.parametrize("action", [pull, push])
def test_a_token_that_expires_in_mid_operation_is_replaced(action: Action) -> None:
    valid: set[str] = set()
    revoked = False

    async def expire(request: Request, stream: Stream) -> None:
        nonlocal revoked
        if "token-1" in valid and request.path.startswith("/v2/some/app/blobs/") and request.method != "POST":
            revoked = True
            valid.clear()

    result, registry = with_registry(action, ME, tokens=True, user="me", password="pa55word", valid=valid, on=expire)
    assert not isinstance(result, Error)
    assert revoked
    assert len([request for request in registry.requests if request.path == "/token"]) == 2


@pytest.mark.parametrize(
    ("fields", "credentials", "text"),
    [
        (
            {"tokens": True, "denied": True},
            None,
            "pull access denied for {host}/some/app, repository does not exist or may require 'docker login': "
            "denied: requested access to the resource is denied",
        ),
        (
            {"tokens": True, "user": "me", "password": "other"},
            ME,
            "unauthorized: incorrect username or password",
        ),
        ({"user": "me", "password": "other"}, ME, "unauthorized: authentication required"),
        ({"user": "me", "password": "other"}, None, "no basic auth credentials"),
    ],
)
def test_who_may_not_is_told_so_in_dockerds_words(
    fields: dict[str, Any], credentials: Credentials | None, text: str
) -> None:
    error, registry = with_registry(pull, credentials, **fields)
    assert str(error) == text.format(host=registry.host)


def test_name_and_password_are_enough_where_no_token_is_wanted() -> None:
    assert with_registry(pull, ME, user="me", password="pa55word")[0] == BLOB


def test_a_login_gives_the_token_for_later() -> None:
    async def main() -> str:
        async with (
            ScriptedRegistry(tokens=True, user="me", password="pa55word") as registry,
            RegistryClient(RegistryConfig(patience=IMPATIENT), ME) as client,
        ):
            return await client.login(registry.host)

    assert asyncio.run(main()) == "refresh-secret"


def test_secrets_do_not_follow_a_redirect_to_another_host() -> None:
    async def main(elsewhere: bool) -> list[str]:
        async with ScriptedRegistry() as storage, ScriptedRegistry(user="me", password="pa55word") as registry:
            place = storage if elsewhere else registry

            async def redirect(request: Request, stream: Stream) -> bool:
                if "/blobs/" in request.path and not request.query:
                    await stream.answer(307, Location=f"http://{place.host}{request.path}?signed=yes")
                    return True
                return False

            registry.on = redirect
            storage.blobs[digest_of(BLOB)] = registry.blobs[digest_of(BLOB)] = BLOB
            assert (await talk(registry, fetch, ME))[1] == BLOB
            return [request.authorization for request in place.requests if request.query]

    assert asyncio.run(main(elsewhere=True)) == [""]
    assert asyncio.run(main(elsewhere=False))[0].startswith("Basic ")


def test_nothing_that_is_secret_is_logged_or_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = ""
    for fields in ({"tokens": True}, {}):
        error, _ = with_registry(pull, Credentials("me", "s3cr3t", "", ""), user="me", password="x", **fields)
        told += repr(error) + str(error)
    error, _ = with_registry(pull, Credentials(identity_token="s3cr3t"), tokens=True, user="me")
    told += str(error) + caplog.text
    assert "s3cr3t" not in told
    assert "czNjcjN0" not in told  # in base64


# Downloads


@pytest.mark.parametrize(
    ("offset", "fields", "start"), [(0, {}, 0), (1000, {}, 1000), (1000, {"ranges": False}, 0), (300_000, {}, 300_000)]
)
def test_a_blob_is_read_from_an_offset_or_from_its_beginning(offset: int, fields: dict[str, Any], start: int) -> None:
    result, _ = with_registry(lambda repository: fetch(repository, offset), **fields)
    assert result == (start, BLOB[start:])


@pytest.mark.parametrize(
    "content_range", ["bytes 0-299999/300000", "bytes 1000-2000/300000", "bytes 1000-299999/999999", "nonsense", ""]
)
def test_a_part_that_is_not_what_was_asked_for_is_not_taken(content_range: str) -> None:
    async def lie(request: Request, stream: Stream) -> bool:
        if "range" in request.headers:
            await stream.answer(206, BLOB[1000:], Content_Range=content_range)
            return True
        return False

    result, _ = with_registry(lambda repository: fetch(repository, 1000), on=lie)
    assert result == (0, BLOB)


def test_a_server_that_is_busy_is_asked_again() -> None:
    answers = [503, 429, 0]

    async def busy(request: Request, stream: Stream) -> bool:
        status = answers.pop(0) if "/manifests/" in request.path else 0
        if status:
            await stream.answer(status, Retry_After=0)
        return status != 0

    assert with_registry(pull, on=busy)[0] == BLOB


def test_a_server_that_asks_for_too_much_patience_has_failed() -> None:
    async def busy(request: Request, stream: Stream) -> bool:
        if "/manifests/" in request.path:
            await stream.error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit", Retry_After=3600)
        return "/manifests/" in request.path

    error, registry = with_registry(pull, on=busy)
    assert str(error) == "toomanyrequests: You have reached your pull rate limit"
    assert len(registry.seen) == 1


def test_a_connection_that_breaks_in_a_manifest_is_made_again() -> None:
    broken = [True, False]

    async def cut(request: Request, stream: Stream) -> bool:
        if "/manifests/" in request.path and broken.pop(0):
            await stream.head(200, Content_Length=len(MANIFEST), Content_Type=media.OCI_MANIFEST)
            await stream.raw(MANIFEST[:10])
            stream.writer.close()
            return True
        return False

    assert with_registry(pull, on=cut)[0] == BLOB


def test_a_head_request_tells_the_descriptor_and_its_refusal_is_explained() -> None:
    async def head(repository: Repository) -> tuple[Descriptor, Error | None]:
        descriptor = (await repository.manifest("latest", head=True)).descriptor
        try:
            await repository.manifest("absent", head=True)
        except Error as error:
            return descriptor, error
        return descriptor, None

    (descriptor, error), registry = with_registry(head)
    assert (descriptor.digest, descriptor.size) == (digest_of(MANIFEST), len(MANIFEST))
    assert str(error) == f"manifest for {registry.host}/some/app:absent not found: manifest unknown: manifest unknown"


def test_tags_are_read_page_by_page_but_not_at_another_host() -> None:
    pages = {"": ("a", "?last=a"), "a": ("b", "?last=b"), "b": ("c", "https://elsewhere.example/?last=c")}

    async def paged(request: Request, stream: Stream) -> bool:
        if not request.path.endswith("/tags/list"):
            return False
        tag, link = pages[request.query.get("last", "")]
        headers = {"Link": f'</v2/some/app/tags/list{link}>; rel="next"'} if tag != "c" or elsewhere else {}
        if tag == "c" and elsewhere:
            headers = {"Link": f'<{link}>; rel="next"'}
        await stream.answer(200, f'{{"tags":["{tag}"]}}'.encode(), **headers)
        return True

    elsewhere = False
    assert with_registry(lambda repository: repository.tags(), on=paged)[0] == ["a", "b", "c"]
    elsewhere = True
    error, _ = with_registry(lambda repository: repository.tags(), on=paged)
    assert "at another host" in str(error)


# Mirrors


def test_a_mirror_is_asked_first_without_secrets_and_the_registry_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> tuple[ScriptedRegistry, ScriptedRegistry, int]:
        async with ScriptedRegistry(user="me", password="pa55word") as hub, ScriptedRegistry() as mirror:
            hub.put("library/app:latest", MANIFEST)
            hub.blobs[digest_of(BLOB)] = BLOB
            mirror.put("library/app:latest", MANIFEST)
            with socket.socket() as nobody:
                nobody.bind(("127.0.0.1", 0))
                dead = f"http://127.0.0.1:{nobody.getsockname()[1]}"
                config = RegistryConfig(mirrors=(dead, f"http://{mirror.host}"), patience=IMPATIENT)
                monkeypatch.setattr("orlop.registry.client.mirrors._HUB_HOSTS", frozenset({hub.host}))
                monkeypatch.setattr("orlop.registry.client.mirrors._HUB_SERVER", hub.host)
                async with RegistryClient(config, ME) as client:
                    repository = client.repository(Reference(hub.host, "library/app"))
                    assert (await repository.manifest("latest")).data == MANIFEST
                    assert (await fetch(repository))[1] == BLOB
            return hub, mirror, 0

    hub, mirror, _ = asyncio.run(main())
    assert [str(request.method) for request in mirror.requests] == ["GET", "GET"]
    assert not any(request.authorization for request in mirror.requests)
    assert [request.path.rpartition("/")[2] for request in hub.requests if request.path != "/v2/"] == [digest_of(BLOB)]


# Uploads


def test_a_blob_is_uploaded_in_one_request_and_its_progress_told() -> None:
    told, registry = with_registry(push)
    assert told[-1] == len(BLOB) + 3
    assert told == sorted(told)
    assert [request.method for request in registry.requests[1:]] == ["POST", "PUT"]
    assert registry.blobs[digest_of(BLOB + b"new")] == BLOB + b"new"


@pytest.mark.parametrize("kept", [0, 12_345, 200_000])
def test_a_broken_upload_goes_on_behind_what_the_registry_has(kept: int) -> None:
    told, registry = with_registry(push, cut_body_after=kept)
    assert registry.blobs[digest_of(BLOB + b"new")] == BLOB + b"new"
    assert told[-1] == len(BLOB) + 3
    patched = [len(request.body) for request in registry.requests if request.method == "PATCH"]
    assert patched == ([len(BLOB) + 3 - kept] if kept else [])


def test_an_upload_that_the_registry_has_forgotten_begins_anew() -> None:
    forgotten = False

    async def forget(request: Request, stream: Stream) -> None:
        nonlocal forgotten
        if request.method == "PUT" and not forgotten:
            forgotten = True
            registry_uploads[0].clear()

    registry_uploads: list[dict[str, bytearray]] = [{}]
    _, registry = with_registry(push, on=forget, uploads=registry_uploads[0])
    assert digest_of(BLOB + b"new") in registry.blobs


def test_a_blob_goes_in_chunks_where_one_request_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orlop.registry.client.uploads._CHUNK", 100_000)

    async def small(request: Request, stream: Stream) -> bool:
        if len(request.body) > 100_000:
            await stream.answer(413, b"<html>too large</html>")
        return len(request.body) > 100_000

    _, registry = with_registry(push, on=small)
    assert registry.blobs[digest_of(BLOB + b"new")] == BLOB + b"new"
    ranges = [request.headers["content-range"] for request in registry.requests if request.method == "PATCH"]
    assert ranges == ["0-99999", "100000-199999", "200000-299999", "300000-300002"]


def test_the_failure_of_the_source_is_what_an_upload_fails_of() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise Error("the disk has gone")

    async def upload(repository: Repository) -> None:
        await repository.upload(described(BLOB), broken, lambda _: None)

    assert str(with_registry(upload)[0]) == "the disk has gone"


def test_a_blob_is_mounted_or_the_upload_that_was_begun_is_used() -> None:
    other = b"not there"

    async def mount(repository: Repository) -> tuple[bool, bool]:
        first = await repository.mount(digest_of(BLOB), "some/other")
        second = await repository.mount(digest_of(other), "some/other")
        await push(repository, other)
        return first, second

    result, registry = with_registry(mount, ME, tokens=True, user="me", password="pa55word")
    assert result == (True, False)
    assert [request.method for request in registry.requests if "uploads" in request.path] == ["POST", "POST", "PUT"]
    scopes = {request.query.get("scope", "") for request in registry.requests if request.path == "/token"}
    assert len(scopes) == 2


def test_sha512_is_as_good() -> None:
    async def both(repository: Repository) -> bytes:
        descriptor = described(BLOB, "sha512")
        await repository.upload(descriptor, opened(BLOB), lambda _: None)
        manifest = digest_of(MANIFEST, "sha512")
        assert await repository.put_manifest(manifest, MANIFEST, media.OCI_MANIFEST) == manifest
        assert (await repository.manifest(manifest)).descriptor.digest == manifest
        return (await fetch(repository, 7, descriptor))[1]

    assert with_registry(both)[0] == BLOB[7:]


# Debian's registry


@contextlib.contextmanager
def debian_registry(directory: Path, settings: str = "", tls: str = "") -> Iterator[str]:
    """Run docker-registry on the loopback; yield its host."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    config = directory / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {directory}/data}}}}\n"
        f"http: {{addr: '{host}'{tls}}}\n{settings}"
    )
    process = subprocess.Popen(["docker-registry", "serve", config], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2]))):
                break
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield host
    finally:
        process.terminate()
        process.wait()


async def there_and_back(host: str, credentials: Credentials | None = None, **settings: Any) -> None:
    """Push an image and pull it again."""
    async with RegistryClient(RegistryConfig(patience=IMPATIENT, **settings), credentials) as client:
        repository = client.repository(parse(f"{host}/some/app"))
        for data in (b"{}", BLOB):
            await repository.upload(described(data), opened(data), lambda _: None)
        assert await repository.put_manifest("latest", MANIFEST, media.OCI_MANIFEST) == digest_of(MANIFEST)
        assert await repository.tags() == ["latest"]
        assert await pull(repository) == BLOB
        other = client.repository(parse(f"{host}/some/other"))
        assert await other.mount(digest_of(BLOB), "some/app")
        assert await other.has_blob(digest_of(BLOB))


def test_debians_registry_takes_and_gives(tmp_path: Path) -> None:
    with debian_registry(tmp_path) as host:
        asyncio.run(there_and_back(host))


def test_debians_registry_wants_the_password(tmp_path: Path) -> None:
    if shutil.which("htpasswd") is None:
        pytest.skip("needs htpasswd")
    file = tmp_path / "htpasswd"
    subprocess.run(["htpasswd", "-Bbc", file, "me", "pa55word"], check=True, capture_output=True)
    with debian_registry(tmp_path, f"auth: {{htpasswd: {{realm: test, path: {file}}}}}\n") as host:
        asyncio.run(there_and_back(host, ME))
        with pytest.raises(Error, match=r"^unauthorized: authentication required$"):
            asyncio.run(there_and_back(host, Credentials("me", "wrong")))
        with pytest.raises(Error, match=r"^no basic auth credentials$"):
            asyncio.run(there_and_back(host))


def test_certificates_of_a_registry_are_verified_by_what_certs_d_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    tls = f", tls: {{certificate: {authority.server}, key: {authority.server}, clientcas: [{authority.ca}]}}"
    with debian_registry(tmp_path, tls=tls) as host:
        certificates = tmp_path / "certs.d" / host
        certificates.mkdir(parents=True)
        settings: dict[str, Any] = {"certs_directories": (tmp_path / "certs.d",)}
        monkeypatch.setattr(RegistryConfig, "is_insecure", lambda *_: False)  # as of a host that is not this one
        with pytest.raises(Error, match="tls: failed to verify certificate: x509: certificate signed by unknown auth"):
            asyncio.run(there_and_back(host, **settings))
        shutil.copy(authority.ca, certificates / "ca.crt")
        with pytest.raises(Error, match="tls"):
            asyncio.run(there_and_back(host, **settings))  # it wants to know the client, too
        shutil.copy(authority.client, certificates / "client.cert")
        shutil.copy(authority.client, certificates / "client.key")
        asyncio.run(there_and_back(host, **settings))
        monkeypatch.undo()
        (certificates / "ca.crt").unlink()
        asyncio.run(there_and_back(host, **settings))  # on this machine nothing is verified
