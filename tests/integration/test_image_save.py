"""Saving images: the archive's form, what names mean, that it comes back as it was, and what damage does."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orlop.engine.images.save import save
from orlop.errors import Internal, InvalidArgument, NotFound
from orlop.formats.digest import Digest
from orlop.store import images as table
from support import archives
from support.archives import MANIFEST, Image, Lab, descriptor, digest, layer, member, tree

pytestmark = pytest.mark.root

BASE = tree({"bin/sh": b"shell" * 1000})
TOP = tree({"etc/motd": b"hello"})
OTHER = tree({"srv/x": b"other"})

ONE = Image([BASE, TOP], ["one:1", "one:2", "reg.example.com/one:1"], {"Cmd": ["sh"]})
TWO = Image([BASE, OTHER], ["two:1"])


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = await Lab.open(tmp_path)
    await lab.load(archives.docker_archive(ONE, TWO))
    lab.events.clear()
    yield lab
    await lab.close()


async def saved(lab: Lab, *names: str, **options: Any) -> bytes:
    return b"".join([block async for block in save(lab.engine, names, **options)])


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar if info.isfile()}  # type: ignore[union-attr]


def tags(data: bytes) -> dict[str, list[str] | None]:
    """Return the tags of each image in an archive, by its id."""
    items = json.loads(members(data)["manifest.json"])
    return {"sha256:" + item["Config"].rpartition("/")[2]: item["RepoTags"] for item in items}


async def test_the_archive_has_the_form_of_docker_25(lab: Lab) -> None:
    found = members(await saved(lab, "one:1"))
    paths = ["blobs/" + layer_.replace(":", "/") for layer_ in (digest(BASE), digest(TOP))]
    sources = {
        digest(data): {
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": digest(data),
            "size": len(data),
        }
        for data in (BASE, TOP)
    }
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads(found["manifest.json"]) == [
        {
            "Config": "blobs/" + ONE.id.replace(":", "/"),
            "RepoTags": ["one:1"],
            "Layers": paths,
            "LayerSources": sources,
        }
    ]
    assert json.loads(found["repositories"]) == {"one": {"1": digest(TOP).partition(":")[2]}}
    (descriptor_,) = json.loads(found["index.json"])["manifests"]
    assert descriptor_["annotations"] == {
        "io.containerd.image.name": "docker.io/library/one:1",
        "org.opencontainers.image.ref.name": "1",
    }
    manifest = found["blobs/" + descriptor_["digest"].replace(":", "/")]
    assert (digest(manifest), len(manifest)) == (descriptor_["digest"], descriptor_["size"])
    assert json.loads(manifest)["layers"] == list(sources.values())
    assert [found[path] for path in paths] == [BASE, TOP]
    assert found["blobs/" + ONE.id.replace(":", "/")] == ONE.document


async def test_names_mean_what_they_mean_to_docker(lab: Lab) -> None:
    both = ["one:1", "one:2"]
    assert tags(await saved(lab, "one")) == {ONE.id: both}  # a repository: all its tags
    assert tags(await saved(lab, "one:2")) == {ONE.id: ["one:2"]}
    assert tags(await saved(lab, "one:2", "one:1", "one:2")) == {ONE.id: both}
    assert tags(await saved(lab, "reg.example.com/one", "two:1")) == {
        ONE.id: ["reg.example.com/one:1"],
        TWO.id: ["two:1"],
    }
    for by_id in (ONE.id, ONE.id[7:], ONE.id[7:19], ONE.id[:19]):
        assert tags(await saved(lab, by_id)) == {ONE.id: None}
    assert tags(await saved(lab, ONE.id, "one:1")) == {ONE.id: ["one:1"]}


async def test_layers_that_images_share_are_there_once(lab: Lab) -> None:
    with tarfile.open(fileobj=io.BytesIO(await saved(lab, "one:1", "two"))) as tar:
        names = tar.getnames()
    assert len(names) == len(set(names))
    assert names.count("blobs/" + digest(BASE).replace(":", "/")) == 1


async def test_the_same_images_give_the_same_bytes_in_another_store_too(lab: Lab, tmp_path: Path) -> None:
    data = await saved(lab, "one", "two")
    assert await saved(lab, "one", "two") == data
    (tmp_path / "other").mkdir()
    other = await Lab.open(tmp_path / "other")
    try:
        await other.load(data)
        assert await saved(other, "one", "two") == data
        assert {record.id for record in other.images} == {ONE.id, TWO.id}
    finally:
        await other.close()


async def test_a_layer_that_came_compressed_goes_out_plain(lab: Lab) -> None:
    image = Image([BASE, layer(member("new", b"x"))])
    packed = [gzip.compress(data) for data in image.layers]
    manifest = archives.manifest(image, [(data, "+gzip") for data in packed])
    name = {"annotations": {"io.containerd.image.name": "docker.io/library/packed:1"}}
    await lab.load(archives.oci_layout([descriptor(manifest, MANIFEST, **name)], manifest, image.document, *packed))
    found = members(await saved(lab, "packed:1"))
    assert [found["blobs/" + digest(data).replace(":", "/")] for data in image.layers] == image.layers


async def test_an_image_without_layers_is_saved_and_comes_back(lab: Lab) -> None:
    empty = Image([], ["empty:1"], {"Labels": {"a": "b"}})
    await lab.load(archives.docker_archive(empty))
    data = await saved(lab, "empty:1")
    assert tags(data) == {empty.id: ["empty:1"]}
    await lab.load(data)


async def test_each_image_is_told_as_an_event_when_it_is_out(lab: Lab) -> None:
    await saved(lab, "one:1", "two")
    assert [(action, actor) for action, actor, _ in lab.events] == [("save", ONE.id), ("save", TWO.id)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["none"], "No such image: none"),
        (["one:9"], "reference does not exist"),
        (["one:1", "deadbeef"], "No such image: deadbeef"),
        (["sha256:" + "0" * 64], "No such image: sha256:" + "0" * 64),
    ],
)
async def test_a_name_that_no_image_has_is_said_before_anything_comes(lab: Lab, names: list[str], message: str) -> None:
    with pytest.raises(NotFound) as caught:
        await saved(lab, *names)
    assert caught.value.message == message


async def test_wrong_names_and_platforms_are_refused(lab: Lab) -> None:
    with pytest.raises(InvalidArgument, match="must be lowercase"):
        await saved(lab, "ONE")
    with pytest.raises(InvalidArgument):
        await saved(lab)
    assert await saved(lab, "one", platform='{"os":"linux","architecture":"amd64"}')
    with pytest.raises(NotFound, match="no suitable export target found for platform linux/arm64"):
        await saved(lab, "one", platform='{"os":"linux","architecture":"arm64"}')


async def test_a_missing_or_shortened_blob_is_an_error_before_the_first_byte(lab: Lab) -> None:
    top = lab.images.resolve("one:1").layers[-1]
    path = lab.images.content.path(Digest.parse(top.blob))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Internal, match="is damaged: it has"):
        await anext(save(lab.engine, ["one:1"]))
    path.unlink()
    with pytest.raises(Internal, match=f"the blob of layer {top.diff_id} is missing"):
        await anext(save(lab.engine, ["one:1"]))


async def test_a_damaged_blob_never_gives_a_whole_archive(lab: Lab) -> None:
    big = Image([layer(member("f", bytes(range(256)) * 40_000))], ["big:1"])
    await lab.load(archives.docker_archive(big))
    blob = lab.images.resolve("big:1").layers[0].blob
    path = lab.images.content.path(Digest.parse(blob))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    got: list[bytes] = []

    async def read() -> None:
        async for block in save(lab.engine, ["big:1"]):
            got.append(block)

    with pytest.raises(Internal, match="is damaged"):
        await read()
    assert not b"".join(got).endswith(bytes(1024))
    assert lab.events == [("load", big.id, {"name": big.id})]


async def test_an_image_that_is_removed_while_it_is_saved_comes_out_whole(lab: Lab) -> None:
    blocks = save(lab.engine, ["two:1"])
    first = await anext(blocks)
    await lab.images.delete(TWO.id)
    data = first + b"".join([block async for block in blocks])
    assert members(data)["blobs/" + digest(OTHER).replace(":", "/")] == OTHER
    lab.settle()
    assert digest(OTHER).replace(":", "-") not in lab.on_disk()


async def test_records_that_do_not_say_the_size_of_the_tar_are_saved_too(lab: Lab) -> None:
    data = await saved(lab, "one:1")
    record = lab.images.resolve("one:1")
    old = msgspec.structs.replace(
        record, layers=tuple(msgspec.structs.replace(item, tar_size=0) for item in record.layers)
    )
    await lab.store.write(lambda tx: table.put(tx, old))
    lab.images._records[record.id] = old
    assert await saved(lab, "one:1") == data
