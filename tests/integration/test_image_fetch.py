"""Fetching images from a source: one pass, nothing twice, downloads that break off and go on, sources that lie."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from orlop.errors import Error, InvalidArgument
from orlop.formats import reference
from orlop.formats.digest import Digest
from orlop.image.fetch import Fetches, Phase
from orlop.image.gather import Gathering
from orlop.image.partials import MAX_AGE
from orlop.image.unpack import Limits
from orlop.model.record import ImageRecord
from support import archives
from support.archives import Image, Lab, digest, layer, member, tree
from support.blob_source import BlobSource, Packed, packed

pytestmark = pytest.mark.root


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


BASE = tree({"bin/sh": noise(60_000, 1), "etc/passwd": b"root"})
TOP = tree({"etc/motd": noise(30_000, 2)})
OTHER = tree({"srv/x": noise(20_000, 3)})
ON_PARENTS = layer(member("etc/deep/er", b"no entries for the directories"))


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = await Lab.open(tmp_path)
    yield lab
    await lab.close()


def fetches(lab: Lab, **options: object) -> Fetches:
    return Fetches(lab.images.depot, lab.images.partials, **{"pause": 0.001, **options})  # type: ignore[arg-type]


async def gather(lab: Lab, fetcher: Fetches, source: BlobSource, image: Packed, name: str = "x:1") -> ImageRecord:
    """Bring an image in and name it, as a pull does."""
    lease = lab.images.lease()
    gathering = Gathering(fetcher, source, lease, image.manifest, image.data, Digest.of(image.data))
    named = False
    try:
        record = await gathering.run()
        await lab.images.add([(record, [reference.parse(name)])])
        named = True
        return record
    finally:
        await gathering.close(named=named)
        await asyncio.to_thread(lease.release)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens without a signal of its own."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def left(lab: Lab) -> dict[str, int]:
    """Return what is in the scratch directory beside partial blobs, and in those, by name."""
    lab.images.scratch.settle()
    scratch = lab.images.scratch.path
    assert {path.name for path in scratch.iterdir()} <= {"partial"}
    return {path.name: path.stat().st_size for path in scratch.glob("partial/*")}


def blobs(lab: Lab) -> set[str]:
    return {str(name) for name in lab.images.content.digests()}


async def test_an_image_is_fetched_with_its_manifest_and_leaves_nothing_behind(lab: Lab) -> None:
    image = packed(BASE, TOP, config={"Cmd": ["sh"]})
    record = await gather(lab, fetches(lab), BlobSource(image.contents), image)
    assert record.id == image.image.id
    assert record.manifest == digest(image.data)
    assert [item.blob for item in record.layers] == [digest(blob) for blob in image.blobs]
    assert (lab.layer("x:1", 0) / "etc/motd").read_bytes() == noise(30_000, 2)
    assert (lab.layer("x:1", 1) / "bin/sh").read_bytes() == noise(60_000, 1)
    assert blobs(lab) == {*image.contents, digest(image.data)}
    assert left(lab) == {}


async def test_plain_zstd_and_sha512_layers_are_kept_as_they_came(lab: Lab) -> None:
    from backports import zstd

    image = Image([BASE, TOP, OTHER])
    stored = [(BASE, ""), (zstd.compress(TOP), "+zstd"), (OTHER, "")]
    document = msgspec.json.decode(archives.manifest(image, stored))
    document["layers"][2]["digest"] = digest(OTHER, "sha512")
    data = msgspec.json.encode(document)
    whole = Packed(image, [blob for blob, _ in stored], data)
    record = await gather(lab, fetches(lab), BlobSource(whole.contents | {digest(OTHER, "sha512"): OTHER}), whole)
    assert [item.blob for item in record.layers] == [item["digest"] for item in document["layers"]]
    assert [lab.images.content.read(Digest.parse(item.blob)) for item in record.layers] == whole.blobs
    assert [item.diff_id for item in record.layers] == [digest(data) for data in image.layers]


async def test_a_layer_that_needs_its_parents_is_unpacked_on_top_of_them(lab: Lab) -> None:
    image = packed(layer(member("etc/", mode=0o700), member("etc/deep/", mode=0o711)), ON_PARENTS)
    await gather(lab, fetches(lab), BlobSource(image.contents), image)
    assert (lab.layer("x:1", 0) / "etc").stat().st_mode & 0o777 == 0o700
    assert (lab.layer("x:1", 0) / "etc/deep").stat().st_mode & 0o777 == 0o711


async def test_the_lowest_layer_may_leave_out_directories(lab: Lab) -> None:
    image = packed(ON_PARENTS, TOP)
    await gather(lab, fetches(lab), BlobSource(image.contents), image)
    assert (lab.layer("x:1", 1) / "etc/deep/er").exists()


async def test_layers_that_are_here_are_not_fetched_again(lab: Lab) -> None:
    first, second = packed(BASE, TOP), packed(BASE, OTHER)
    source = BlobSource(first.contents | second.contents)
    await gather(lab, fetches(lab), source, first)
    source.asked.clear()
    await gather(lab, fetches(lab), source, second, "x:2")
    assert {name for name, _ in source.asked} == {second.image.id, digest(second.blobs[1])}


async def test_a_layer_that_was_loaded_uncompressed_is_recognized_by_its_content(lab: Lab) -> None:
    await lab.load(archives.docker_archive(Image([BASE], ["y:1"])))
    image = packed(BASE, TOP)
    source = BlobSource(image.contents)
    record = await gather(lab, fetches(lab), source, image)
    assert source.offsets(image.blobs[0]) == []
    assert record.layers[0] == lab.images.resolve("y:1").layers[0]


async def test_the_same_layer_twice_in_an_image_is_fetched_once(lab: Lab) -> None:
    image = packed(BASE, TOP, BASE)
    source = BlobSource(image.contents)
    await gather(lab, fetches(lab), source, image)
    assert source.offsets(image.blobs[0]) == [0]


async def test_a_stream_that_breaks_off_is_opened_again_behind_what_came(lab: Lab) -> None:
    image = packed(BASE)
    source = BlobSource(image.contents, cuts=[5_000, 7_500])
    await gather(lab, fetches(lab), source, image)
    assert source.offsets(image.blobs[0]) == [0, 5_000, 12_500]


async def test_a_source_without_ranges_is_read_from_the_beginning_once_more(lab: Lab) -> None:
    image = packed(BASE)
    source = BlobSource(image.contents, ranges=False, cuts=[5_500])
    await gather(lab, fetches(lab), source, image)
    assert source.offsets(image.blobs[0]) == [0, 5_500]


async def test_a_source_that_gets_nowhere_is_given_up_and_what_came_is_kept(lab: Lab) -> None:
    image = packed(BASE)
    source = BlobSource(image.contents, cuts=[4_000, 10, 10])
    with pytest.raises(Error, match="connection reset by peer"):
        await gather(lab, fetches(lab, attempts=3), source, image)
    assert list(left(lab).values()) == [4_020]
    assert blobs(lab) == set()


async def test_a_cancelled_download_goes_on_after_a_restart_with_only_the_rest(lab: Lab, tmp_path: Path) -> None:
    image = packed(BASE, TOP)
    gate = asyncio.Event()
    source = BlobSource(image.contents, gates={digest(image.blobs[0]): gate})
    task = asyncio.create_task(gather(lab, fetches(lab), source, image))
    await until(lambda: lab.images.layers.names() and source.waiting)  # one is here, one is half-way
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    kept = left(lab)
    assert sorted(kept) == sorted(digest(blob).replace(":", "-") for blob in image.blobs)
    assert blobs(lab) == set()
    assert lab.images.layers.names() == []

    await lab.reopen()
    source = BlobSource(image.contents)
    await gather(lab, fetches(lab), source, image)
    assert source.offsets(image.blobs[1]) == []
    assert source.offsets(image.blobs[0]) == [kept[digest(image.blobs[0]).replace(":", "-")]]
    assert left(lab) == {}


async def test_what_an_earlier_download_left_damaged_is_fetched_anew(lab: Lab) -> None:
    image = packed(BASE)
    path = lab.images.partials.path / digest(image.blobs[0]).replace(":", "-")
    path.parent.mkdir()
    path.write_bytes(image.blobs[0][:4_000] + b"\0" * 4_000)
    source = BlobSource(image.contents)
    await gather(lab, fetches(lab), source, image)
    assert source.offsets(image.blobs[0]) == [8_000, 0]


async def test_a_layer_that_two_want_is_fetched_once(lab: Lab) -> None:
    first, second = packed(BASE, TOP), packed(BASE, OTHER)
    source = BlobSource(first.contents | second.contents)
    fetcher = fetches(lab)
    await asyncio.gather(gather(lab, fetcher, source, first), gather(lab, fetcher, source, second, "x:2"))
    assert source.offsets(first.blobs[0]) == [0]
    assert lab.layer("x:1", 1) == lab.layer("x:2", 1)


async def test_a_shared_download_survives_the_one_who_began_it(lab: Lab) -> None:
    image = packed(BASE)
    gate = asyncio.Event()
    mine, theirs = BlobSource(image.contents, gates={digest(image.blobs[0]): gate}), BlobSource(image.contents)
    fetcher = fetches(lab)
    first = asyncio.create_task(gather(lab, fetcher, mine, image))
    await until(lambda: mine.offsets(image.blobs[0]))
    second = asyncio.create_task(gather(lab, fetcher, theirs, image, "x:2"))
    await until(lambda: fetcher.users(digest(image.blobs[0])) == 2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert len(fetcher.using(mine)) == 1
    gate.set()
    assert (await second).id == image.image.id
    assert mine.offsets(image.blobs[0]) == [0]
    assert theirs.offsets(image.blobs[0]) == []


async def test_when_a_shared_download_fails_the_other_tries_its_own_source(lab: Lab) -> None:
    image = packed(BASE)
    gate = asyncio.Event()
    bad = BlobSource(image.contents, cuts=[40_000], gates={digest(image.blobs[0]): gate})
    good = BlobSource(image.contents)
    fetcher = fetches(lab, attempts=1)
    first = asyncio.create_task(gather(lab, fetcher, bad, image))
    await until(lambda: bad.offsets(image.blobs[0]))
    second = asyncio.create_task(gather(lab, fetcher, good, image, "x:2"))
    await until(lambda: fetcher.users(digest(image.blobs[0])) == 2)
    gate.set()
    await second
    with pytest.raises(Error):
        await first
    assert len(good.offsets(image.blobs[0])) == 1


async def test_as_many_are_downloaded_at_once_as_is_allowed(lab: Lab) -> None:
    image = packed(*(tree({f"f{number}": noise(20_000, number)}) for number in range(8)))
    source = BlobSource(image.contents)
    await gather(lab, fetches(lab, concurrency=2), source, image)
    assert source.most_streams == 2


async def test_the_phases_are_seen_from_outside(lab: Lab) -> None:
    image = packed(BASE)
    gate = asyncio.Event()
    source = BlobSource(image.contents, gates={digest(image.blobs[0]): gate})
    lease = lab.images.lease()
    gathering = Gathering(fetches(lab), source, lease, image.manifest, image.data, Digest.of(image.data))
    task = asyncio.create_task(gathering.run())
    await until(lambda: gathering.rows and gathering.rows[0].fetch and gathering.rows[0].fetch.downloaded)
    fetch = gathering.rows[0].fetch
    assert fetch is not None
    assert fetch.phase is Phase.DOWNLOADING
    gate.set()
    await task
    assert (fetch.phase, fetch.downloaded, fetch.extracted) == (Phase.COMPLETE, *2 * (len(image.blobs[0]),))
    await gathering.close(named=False)
    lease.release()


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "filesystem layer verification failed for digest sha256:"),
        (lambda data: data + b"more", "more than the"),
        (lambda data: data[:-10], "unexpected EOF"),
    ],
)
async def test_a_source_that_lies_about_a_layer_is_found_out(lab: Lab, lie, message) -> None:  # type: ignore[no-untyped-def]
    image = packed(BASE, TOP)
    contents = {**image.contents, digest(image.blobs[0]): lie(image.blobs[0])}
    with pytest.raises(Error, match=message):
        await gather(lab, fetches(lab, attempts=2), BlobSource(contents), image)
    assert blobs(lab) == set()
    assert lab.images.layers.names() == []
    assert digest(image.blobs[0]).replace(":", "-") not in left(lab) or "EOF" in message


@pytest.mark.parametrize(
    ("content", "limits", "message"),
    [
        (
            tree({f"f{number}": b"" for number in range(50)}),
            Limits(entries=40),
            "failed to register layer: .*more than",
        ),
        (layer(member("f", b"\0" * 8_000_000)), Limits(size=1 << 20), "failed to register layer: .*more than"),
        (b"no tar at all" * 1000, Limits(), "failed to register layer: "),
    ],
)
async def test_what_cannot_be_unpacked_is_refused_and_not_kept(
    lab: Lab, content: bytes, limits: Limits, message: str
) -> None:
    image = packed(content)
    with pytest.raises(Error, match=message):
        await gather(lab, fetches(lab, limits=limits), BlobSource(image.contents), image)
    assert left(lab) == {}
    assert blobs(lab) == set()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


async def test_on_a_full_disk_the_pull_fails_and_gives_the_space_back(small_disk: Path) -> None:
    lab = await Lab.open(small_disk)
    stale = lab.images.partials.path / ("sha256-" + "1" * 64)
    stale.parent.mkdir()
    stale.write_bytes(bytes(4_000_000))
    enough, too_much = packed(tree({"a": noise(7_000_000, 7)})), packed(tree({"b": noise(30_000_000, 8)}))
    with pytest.raises(Error, match="no space left on device"):
        await gather(lab, fetches(lab), BlobSource(too_much.contents, block=100_000), too_much)
    assert left(lab) == {}  # the stale one gave way
    assert blobs(lab) == set()
    record = await gather(lab, fetches(lab), BlobSource(enough.contents, block=100_000), enough)
    assert record.id == enough.image.id
    await lab.close()


async def test_layers_other_than_those_of_the_configuration_are_refused(lab: Lab) -> None:
    image, other = packed(BASE, TOP), packed(BASE, OTHER)
    manifest = msgspec.json.decode(image.data)
    manifest["layers"] = msgspec.json.decode(other.data)["layers"]
    swapped = replace(image, data=msgspec.json.encode(manifest))
    source = BlobSource(image.contents | other.contents)
    with pytest.raises(InvalidArgument, match="layers from manifest don't match image configuration"):
        await gather(lab, fetches(lab), source, swapped)
    manifest["layers"] = manifest["layers"][:1]
    with pytest.raises(InvalidArgument, match="layers from manifest don't match image configuration"):
        await gather(lab, fetches(lab), source, replace(image, data=msgspec.json.encode(manifest)))
    assert blobs(lab) == set()


async def test_a_wrong_missing_or_oversized_configuration_is_refused(lab: Lab) -> None:
    image = packed(BASE)
    wrong = image.contents | {image.image.id: image.image.document.replace(b"amd64", b"arm64")}
    with pytest.raises(Error, match=r"error pulling image configuration: image config verification failed for digest"):
        await gather(lab, fetches(lab), BlobSource(wrong), image)
    missing = {name: data for name, data in image.contents.items() if name != image.image.id}
    with pytest.raises(
        Error, match="error pulling image configuration: download failed after attempts=1: blob unknown"
    ):
        await gather(lab, fetches(lab), BlobSource(missing), image)
    manifest = msgspec.json.decode(image.data)
    manifest["config"]["size"] = 9 << 20
    with pytest.raises(InvalidArgument, match="more than"):
        await gather(lab, fetches(lab), BlobSource(), replace(image, data=msgspec.json.encode(manifest)))


async def test_an_image_of_too_many_layers_is_refused_before_anything_is_fetched(lab: Lab) -> None:
    image = packed(*[tree({"a": b"b"})] * 501)
    source = BlobSource(image.contents)
    with pytest.raises(InvalidArgument, match="max depth exceeded"):
        await gather(lab, fetches(lab), source, image)
    assert source.offsets(image.blobs[0]) == []


async def test_partial_blobs_are_swept_by_age_and_when_they_are_whole_elsewhere(lab: Lab) -> None:
    image = packed(BASE)
    await gather(lab, fetches(lab), BlobSource(image.contents), image)
    partials = lab.images.partials
    names = {
        "old": "sha256-" + "1" * 64,
        "fresh": "sha256-" + "2" * 64,
        "here": digest(image.blobs[0]).replace(":", "-"),
    }
    for name in (*names.values(), "what is this"):
        (partials.path / name).write_bytes(b"12345")
    os.utime(partials.path / names["old"], (0, MAX_AGE))
    await lab.reopen()
    assert left(lab) == {names["fresh"]: 5}
    assert lab.images.partials.reclaimable() == 5
    assert lab.images.partials.drop() == 5
    assert left(lab) == {}
