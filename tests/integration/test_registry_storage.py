"""The registry's storage: crashes, uploads that are taken up again, collections while others push."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import threading
import time
from pathlib import Path

import pytest

from orlop.errors import Unavailable
from orlop.formats.digest import Digest
from orlop.registry.storage.local import LocalStorage
from orlop.registry.storage.root import Root
from orlop.registry.storage.storage import Collection, DigestMismatch, UploadUnknown
from support.orlop_registry import OrlopRegistry, config_of, digest_of, image_of, orlop_registry

DATA = random.Random(1).randbytes(3 << 20)


def age(root: Path) -> None:
    """Let everything in a registry's root be a day old."""
    day = time.time() - 86400
    for path in root.rglob("*"):
        os.utime(path, (day, day), follow_symlinks=False)


def contents(registry: OrlopRegistry) -> set[str]:
    return {f"{path.parent.name}:{path.name}" for path in (registry.root / "content").glob("*/*")}


def test_an_upload_goes_on_after_the_server_was_killed_in_its_middle() -> None:
    with orlop_registry() as registry:
        location = registry.request("POST", "/v2/a/blobs/uploads/").headers["Location"]
        assert registry.request("PATCH", location, DATA[: 1 << 20]).status == 202
        with registry.connect() as sock:
            head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(DATA)}\r\n\r\n"
            sock.sendall(head.encode() + DATA[1 << 20 : 2 << 20])
            while registry.request("GET", location).headers["Range"] == f"0-{(1 << 20) - 1}":
                time.sleep(0.01)
            registry.kill()
        registry.start()
        have = int(registry.request("GET", location).headers["Range"].removeprefix("0-")) + 1
        assert 1 << 20 < have <= 2 << 20
        rest = {"Content-Range": f"{have}-{len(DATA) - 1}"}
        assert registry.request("PATCH", location, DATA[have:], rest).status == 202
        digest = digest_of(DATA)
        assert registry.request("PUT", f"{location}?digest={digest}").status == 201
        assert registry.request("GET", f"/v2/a/blobs/{digest}").body == DATA


def test_a_client_that_comes_back_takes_its_upload_from_its_old_connection() -> None:
    with orlop_registry() as registry:
        location = registry.request("POST", "/v2/a/blobs/uploads/").headers["Location"]
        with registry.connect() as old:
            old.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(DATA)}\r\n\r\nhalf".encode())
            answer = registry.request("PATCH", location, b"x" * 10)
            assert answer.status == 202
            assert old.recv(100) == b""
        have = int(registry.request("GET", location).headers["Range"].removeprefix("0-")) + 1
        assert have in (10, 14)
        data = b"half"[: have - 10] + b"x" * 10
        assert registry.request("PUT", f"{location}?digest={digest_of(data)}").status == 201


@pytest.mark.parametrize("seed", range(4))
def test_a_server_that_is_killed_anywhere_has_the_old_or_the_new_state(seed: int) -> None:
    """Every image whose push was answered is whole; every tag that is listed names a whole image."""
    pushed: dict[str, str] = {}
    begun: set[str] = set()  # tags whose push may have been answered, or not
    with orlop_registry() as registry:

        def push() -> None:
            for number in range(10_000):
                name = b"%d" % (number % 7)
                try:
                    tag = f"v{number % 5}"
                    begun.add(tag)
                    pushed[tag] = registry.push_image("a", tag, name)
                    if number % 3 == 2:
                        registry.request("DELETE", f"/v2/a/manifests/{pushed[tag]}")
                except (OSError, AssertionError):
                    return

        thread = threading.Thread(target=push)
        thread.start()
        time.sleep(random.Random(seed).uniform(0.2, 0.6))
        registry.kill()
        thread.join()
        registry.start()
        tags = registry.request("GET", "/v2/a/tags/list").json["tags"]
        assert set(tags) <= begun
        for tag in tags:
            manifest = registry.request("GET", f"/v2/a/manifests/{tag}")
            assert manifest.status == 200
            for entry in (manifest.json["config"], *manifest.json["layers"]):
                blob = registry.request("GET", f"/v2/a/blobs/{entry['digest']}")
                assert digest_of(blob.body) == entry["digest"]
        assert not list((registry.root / "deletions").iterdir())
        for path in (registry.root / "content").glob("*/*"):
            assert digest_of(path.read_bytes(), path.parent.name) == f"{path.parent.name}:{path.name}"


def test_a_collection_frees_what_nothing_needs_also_while_the_server_runs() -> None:
    with orlop_registry() as registry:
        digest = registry.push_image("a", "v1", b"1")
        registry.push_image("a", "v2", b"2")
        registry.request("POST", f"/v2/b/blobs/uploads/?mount={digest_of(b'layer1')}&from=a")
        loose = registry.push_blob("a", b"loose")
        registry.request("DELETE", f"/v2/a/manifests/{digest}")
        assert "4 blobs are not in use and stay" in registry.collect()
        assert loose in contents(registry)
        age(registry.root)
        assert "4 blobs and 0 manifests would be removed" in registry.collect("--dry-run")
        assert registry.request("HEAD", f"/v2/a/blobs/{loose}").status == 200, "asked for: it may be relied on"
        assert "3 blobs and 0 manifests removed" in registry.collect()
        assert contents(registry) >= {loose, digest_of(b"layer2")}
        assert registry.request("HEAD", f"/v2/b/blobs/{digest_of(b'layer1')}").status == 404
        registry.stop()
        age(registry.root)
        assert "1 blobs and 0 manifests removed" in registry.collect()
        registry.start()
        assert registry.request("GET", "/v2/_catalog").json["repositories"] == ["a"]
        assert registry.request("GET", f"/v2/a/blobs/{digest_of(b'layer2')}").body == b"layer2"
        assert not (registry.root / "repositories/b").exists()


def test_untagged_manifests_are_collected_when_that_is_wanted() -> None:
    with orlop_registry() as registry:
        old = registry.push_image("a", "v1", b"1")
        new = registry.push_image("a", "v1", b"2")
        subject = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": new, "size": 1}
        registry.push_blob("a", config_of(b"3"))
        registry.push_blob("a", b"layer3")
        data = json.dumps(image_of(b"3", subject=subject)).encode()
        signature = digest_of(data)
        assert registry.push("a", signature, data).status == 201
        age(registry.root)
        assert "0 blobs and 0 manifests removed" in registry.collect()
        assert "3 blobs and 1 manifests removed" in registry.collect("--untagged")
        assert registry.request("GET", f"/v2/a/manifests/{old}").status == 404
        assert registry.request("GET", f"/v2/a/manifests/{signature}").status == 200


def test_no_push_fails_and_no_image_breaks_while_everything_else_is_collected() -> None:
    """Collections without rest and with a grace that is short; the pushers rely on blobs that go when they are late."""
    with orlop_registry() as registry:
        problems: list[str] = []
        done = threading.Event()

        def push(worker: int) -> None:
            for number in range(12):
                seed = b"%d" % (number % 3)  # the same blobs again and again, of all workers
                try:
                    registry.push_image(f"w{worker}", "v1", seed)
                    if number % 2:
                        registry.request("DELETE", f"/v2/w{worker}/manifests/v1")
                except AssertionError as error:
                    problems.append(str(error))

        def collect() -> None:
            while not done.is_set():
                registry.collect("--untagged", "--grace=3s")

        collector = threading.Thread(target=collect)
        collector.start()
        workers = [threading.Thread(target=push, args=(number,)) for number in range(3)]
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join()
        for worker in range(3):
            registry.push_image(f"w{worker}", "kept", b"kept")
        age(registry.root)
        registry.collect("--untagged", "--grace=0")
        done.set()
        collector.join()
        assert not problems
        for worker in range(3):
            for path in (f"blobs/{digest_of(b'layerkept')}", "manifests/kept"):
                assert registry.request("GET", f"/v2/w{worker}/{path}").status == 200
        assert re.search(r"\b0 blobs and 0 manifests removed", registry.collect("--untagged", "--grace=0"))


def test_two_processes_never_share_a_root(tmp_path: Path) -> None:
    first = Root(tmp_path / "root")
    with pytest.raises(Unavailable, match=f"another process \\({os.getpid()}\\) uses the registry's root"):
        Root(tmp_path / "root")
    os.close(first._lock_fd)


async def test_uploads_expire_when_nobody_goes_on_with_them(tmp_path: Path) -> None:
    storage = LocalStorage.open(tmp_path)
    try:
        repository = storage.repository("a/b")
        old = await repository.begin_upload("sha256")
        await old.write([b"x"])
        age(tmp_path / "uploads")
        alive = await repository.begin_upload("sha256")
        assert await storage.expire_uploads(3600) == 1
        with pytest.raises(UploadUnknown):
            await repository.upload(old.id)
        assert (await repository.upload(alive.id)).offset == 0
    finally:
        await storage.close()


async def test_a_collection_waits_for_uploads_that_began_before_a_blob_was_asked_for(tmp_path: Path) -> None:
    storage = LocalStorage.open(tmp_path)
    try:
        repository = storage.repository("a")
        upload = await repository.begin_upload("sha256")
        await upload.write([b"needed later"])
        await upload.commit(Digest.of(b"needed later"))
        age(tmp_path)
        long = await repository.begin_upload("sha256")
        beginning = time.time() - 86400
        os.utime(tmp_path / "uploads" / long.id, (beginning, beginning))
        await long.write([b"goes on"])
        assert (await storage.collect(Collection(grace=3600))).blobs == 0
        await long.cancel()
        assert (await storage.collect(Collection(grace=3600))).blobs == 1
    finally:
        await storage.close()


async def test_an_upload_whose_hash_was_lost_is_verified_all_the_same(tmp_path: Path) -> None:
    for wrong in (False, True):
        storage = LocalStorage.open(tmp_path)
        upload = await storage.repository("a").begin_upload("sha256")
        await upload.write([b"one "])
        await storage.close()
        storage = LocalStorage.open(tmp_path)
        try:
            upload = await storage.repository("a").upload(upload.id)
            await upload.write([b"twx" if wrong else b"two"])
            if wrong:
                with pytest.raises(DigestMismatch):
                    await upload.commit(Digest.of(b"one two", "sha512"))
            else:
                await upload.commit(Digest.of(b"one two", "sha512"))
                assert await storage.repository("a").blob_size(Digest.of(b"one two", "sha512")) == 7
        finally:
            await storage.close()


def test_an_end_lets_requests_finish_that_are_under_way() -> None:
    with orlop_registry() as registry:
        digest = digest_of(DATA)
        with registry.connect() as sock:
            head = (
                f"POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(DATA)}\r\n\r\n"
            )
            sock.sendall(head.encode() + DATA[: 1 << 20])
            while not any((registry.root / "uploads").iterdir()):
                time.sleep(0.01)
            assert registry.process is not None
            registry.process.terminate()
            while "stopping" not in registry.log.read_text():
                time.sleep(0.01)
            sock.sendall(DATA[1 << 20 :])
            assert sock.recv(100).startswith(b"HTTP/1.1 201 ")
        assert registry.process.wait(60) == 0
        registry.start()
        assert registry.request("GET", f"/v2/a/blobs/{digest}").body == DATA
        with registry.connect() as idle:
            assert registry.stop() == 0
            assert idle.recv(1) == b""
        registry.start()


def test_systemd_is_told_that_the_registry_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with orlop_registry():
            assert notified.recv(100) == b"READY=1"
        assert notified.recv(100) == b"STOPPING=1"
