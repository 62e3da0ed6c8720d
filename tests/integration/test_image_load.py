"""Loading archives of every form: what becomes of them, what is said, and what is left when they are wrong."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import json
import lzma
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from orlop.engine.images import load
from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.image.intake import unpack_blob
from orlop.image.unpack import Limits
from support import archives
from support.archives import CONFIG, INDEX, MANIFEST, Image, Lab, descriptor, digest, layer, member, tree

pytestmark = pytest.mark.root

BASE = tree({"bin/sh": b"shell", "etc/passwd": b"root"})
TOP = tree({"etc/motd": b"hello"})
OTHER = tree({"srv/x": b"other"})


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = await Lab.open(tmp_path)
    yield lab
    await lab.close()


def said(messages: list[dict[str, Any]]) -> list[str]:
    return [message["stream"] for message in messages if "stream" in message]


async def test_an_archive_of_today_is_loaded_with_its_names_and_layers(lab: Lab) -> None:
    image = Image([BASE, TOP], ["busybox:latest", "busybox:1.0"], {"Cmd": ["sh"]})
    messages = await lab.load(archives.docker_archive(image))
    assert said(messages) == ["Loaded image: busybox:latest\n", "Loaded image: busybox:1.0\n"]
    record = lab.images.resolve("busybox")
    assert record.id == image.id
    assert lab.images.config(record)["config"] == {"Cmd": ["sh"]}
    assert (lab.layer("busybox", 0) / "etc/motd").read_bytes() == b"hello"
    assert (lab.layer("busybox", 1) / "bin/sh").read_bytes() == b"shell"
    assert record.size == len(b"shell" + b"root" + b"hello")
    assert lab.events == [("load", image.id, {"name": image.id})]


async def test_an_image_without_a_name_is_told_by_its_id(lab: Lab) -> None:
    one, two = Image([BASE]), Image([TOP])
    messages = await lab.load(archives.docker_archive(one, two))
    assert said(messages) == [f"Loaded image ID: {one.id}\nLoaded image ID: {two.id}\n"]


async def test_a_name_that_moves_leaves_the_old_image_without_one(lab: Lab) -> None:
    old, new = Image([BASE], ["x:1"]), Image([TOP], ["x:1"])
    await lab.load(archives.docker_archive(old))
    messages = await lab.load(archives.docker_archive(new))
    assert said(messages) == [
        f"The image x:1 already exists, renaming the old one with ID {old.id} to empty string\n",
        "Loaded image: x:1\n",
    ]
    assert lab.images.resolve("x:1").id == new.id
    assert lab.images.names(old.id) == []
    assert lab.images.resolve(old.id).id == old.id


async def test_progress_is_told_of_each_layer_unless_quiet(lab: Lab) -> None:
    big = layer(member("f", os.urandom(3 << 20)))
    messages = await lab.load(archives.docker_archive(Image([big], ["x:1"])), quiet=False)
    lines = [message for message in messages if message.get("status") == "Loading layer"]
    assert lines[-1] == {
        "status": "Loading layer",
        "progressDetail": {"current": len(big), "total": len(big)},
        "progress": f"[{'=' * 50}>]  3.154MB/3.154MB",
        "id": digest(big)[7:19],
    }
    assert lines[0]["progressDetail"]["current"] < len(big)
    assert await lab.load(archives.docker_archive(Image([big], ["x:1"])), quiet=True) == [
        {"stream": "Loaded image: x:1\n"}
    ]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
async def test_compressed_archives_are_loaded(lab: Lab, pack: Any) -> None:
    data = archives.docker_archive(Image([BASE], ["x:1"]))
    half = len(data) // 2
    await lab.load(pack(data[:half]) + pack(data[half:]))  # of two members, as parallel packers write
    assert (lab.layer("x:1") / "bin/sh").exists()


async def test_the_plain_tar_of_a_layer_can_be_rebuilt_bit_by_bit(lab: Lab) -> None:
    await lab.load(archives.docker_archive(Image([BASE], ["x:1"])))
    (record,) = lab.images.resolve("x:1").layers
    with lab.images.content.open(Digest.parse(record.blob)) as blob:
        assert zstd.decompress(blob.read()) == BASE
    assert record.media_type == "application/vnd.oci.image.layer.v1.tar+zstd"


async def test_archives_of_docker_1_10_share_a_repeated_layer_by_a_link(lab: Lab) -> None:
    image = Image([BASE, TOP, BASE], ["old:1"])
    await lab.load(archives.docker_archive_1_10(image))
    record = lab.images.resolve("old:1")
    assert record.id == image.id
    assert [item.diff_id for item in record.layers] == [digest(data) for data in (BASE, TOP, BASE)]
    names = lab.images.layers.names_of(record)
    assert names[0] == names[2]
    # The kernel takes a directory once; the topmost of equal layers hides the others.
    assert [Path(path).name for path in lab.images.layers.directories(record)] == [names[2], names[1]]


async def test_archives_before_docker_1_10_get_a_configuration(lab: Lab) -> None:
    await lab.load(archives.docker_archive_1_0([BASE, TOP], "ancient", "latest"))
    config = lab.images.config(lab.images.resolve("ancient"))
    assert config["config"] == {"Cmd": ["/bin/sh"]}
    assert config["rootfs"]["diff_ids"] == [digest(BASE), digest(TOP)]
    assert len(config["history"]) == 2


@pytest.mark.parametrize(
    ("pack", "suffix"), [(gzip.compress, "+gzip"), (zstd.compress, "+zstd"), (lambda data: data, "")]
)
async def test_oci_layouts_are_loaded_with_any_compression(lab: Lab, pack: Any, suffix: str) -> None:
    image = Image([BASE, TOP])
    packed = [pack(data) for data in image.layers]
    manifest = archives.manifest(image, [(data, suffix) for data in packed])
    name = {"annotations": {"io.containerd.image.name": "docker.io/library/oci:1"}}
    await lab.load(archives.oci_layout([descriptor(manifest, MANIFEST, **name)], manifest, image.document, *packed))
    record = lab.images.resolve("oci:1")
    assert record.id == image.id
    assert (lab.layer("oci:1", 1) / "bin/sh").read_bytes() == b"shell"
    if suffix:
        assert [item.blob for item in record.layers] == [digest(data) for data in packed]  # kept as they came


async def test_of_several_platforms_the_one_that_is_wanted_is_taken(lab: Lab) -> None:
    images = {name: Image([BASE, layer(member(name, b""))], architecture=name) for name in ("amd64", "arm64")}
    manifests = {name: archives.manifest(image) for name, image in images.items()}
    descriptors = [
        descriptor(data, MANIFEST, platform={"os": "linux", "architecture": name}) for name, data in manifests.items()
    ]
    attestation = descriptor(b"{}", MANIFEST, annotations={"vnd.docker.reference.type": "attestation-manifest"})
    inner = archives.index([*descriptors, attestation])
    top = [descriptor(inner, INDEX, annotations={"org.opencontainers.image.ref.name": "multi:1"})]
    blobs = [inner, *manifests.values(), BASE]
    for image in images.values():
        blobs += [image.document, image.layers[1]]
    data = archives.oci_layout(top, *blobs)
    await lab.load(data, platform='{"os":"linux","architecture":"arm64"}')
    assert lab.images.resolve("multi:1").id == images["arm64"].id
    lab.settle()
    assert Digest.parse(digest(images["amd64"].document)).hex not in lab.on_disk()
    with pytest.raises(InvalidArgument, match="no image for this platform"):
        await lab.load(data, platform='{"os":"linux","architecture":"s390x"}')


async def test_a_platform_that_the_image_is_not_for_is_refused(lab: Lab) -> None:
    with pytest.raises(InvalidArgument, match=r"\(linux/amd64\) does not match the requested platform \(linux/arm64\)"):
        await lab.load(
            archives.docker_archive(Image([BASE], ["x:1"])), platform='{"os":"linux","architecture":"arm64"}'
        )


async def test_a_layer_is_unpacked_once_and_shared(lab: Lab) -> None:
    await lab.load(archives.docker_archive(Image([BASE], ["a:1"])))
    inode = lab.layer("a:1").stat().st_ino
    await lab.load(archives.docker_archive(Image([BASE, TOP], ["b:1"]), Image([OTHER, BASE], ["c:1"])))
    assert {lab.layer("b:1", 1).stat().st_ino, lab.layer("c:1", 0).stat().st_ino} == {inode}
    lab.settle()
    assert len(list((lab.root / "layers").iterdir())) == 4  # one of them is for images without any


async def test_an_image_without_layers_has_an_empty_root(lab: Lab) -> None:
    await lab.load(archives.docker_archive(Image([], ["none:1"])))
    assert list(lab.layer("none:1").iterdir()) == []


async def test_a_layer_that_does_not_stand_alone_is_applied_on_top_of_its_parents(lab: Lab) -> None:
    one = layer(member("./", mode=0o755), member("d/", mode=0o700, uid=5), member("d/old", b"one"))
    two = layer(member("./", mode=0o755), member("d/", mode=0o711, uid=6), member("d/old", b"two!"))
    dependent = layer(member("d/new", b"new"), member("d/link", kind=b"1", linkname="d/old"))
    await lab.load(archives.docker_archive(Image([one, dependent], ["one:1"]), Image([two, dependent], ["two:1"])))
    for name, mode, uid, content in (("one:1", 0o700, 5, b"one"), ("two:1", 0o711, 6, b"two!")):
        top = lab.layer(name)
        assert top.name.startswith("chain-")
        assert (top / "d").stat().st_mode & 0o777 == mode
        assert (top / "d").stat().st_uid == uid
        assert (top / "d/link").read_bytes() == content
    await lab.load(
        archives.docker_archive(Image([one, TOP, dependent], ["three:1"]))
    )  # known, but not on these parents
    assert (lab.layer("three:1") / "d/link").read_bytes() == b"one"
    lab.settle()
    assert not list((lab.root / "tmp").iterdir())


async def test_the_lowest_layer_may_leave_its_parents_out(lab: Lab) -> None:
    await lab.load(archives.docker_archive(Image([layer(member("app/bin/x", b"1"))], ["x:1"])))
    assert (lab.layer("x:1") / "app/bin").stat().st_mode & 0o777 == 0o755


async def test_a_kept_layer_can_be_unpacked_again(lab: Lab, tmp_path: Path) -> None:
    await lab.load(archives.docker_archive(Image([BASE], ["x:1"])))
    (record,) = lab.images.resolve("x:1").layers
    (tmp_path / "again").mkdir()
    root = os.open(tmp_path / "again", os.O_RDONLY)
    try:
        unpack_blob(lab.images.depot, record, root, on_view=False, limits=Limits())
    finally:
        os.close(root)
    assert (tmp_path / "again/bin/sh").read_bytes() == b"shell"


def _replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert len(old) == len(new)
    assert old in data
    return data.replace(old, new)


GOOD = Image([BASE, TOP], ["x:1"])
MANIFEST_JSON = json.dumps([{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l.tar"]}]).encode()


def _docker(manifest: object, *files: tuple[str, bytes]) -> bytes:
    return archives.archive([*files, ("manifest.json", json.dumps(manifest).encode())])


def _config(**fields: object) -> bytes:
    return json.dumps({**json.loads(Image([BASE]).document), **fields}).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "neither manifest.json nor index.json"),
        (b"no archive at all" * 100, "invalid tar header"),
        (archives.docker_archive(GOOD)[:5000], "unexpected EOF"),
        (gzip.compress(archives.docker_archive(GOOD))[:-30], "unexpected end of gzip data"),
        (gzip.compress(archives.docker_archive(GOOD)) + b"garbage", "garbage behind gzip data"),
        (_replaced(archives.docker_archive(GOOD), b"shell", b"SHELL"), "unexpected content digest"),
        (_replaced(archives.docker_archive(GOOD), b'"linux"', b'"minix"'), "unexpected content digest"),
        (_docker({"Config": "x"}), "Expected `array`, got `object`"),
        (_docker([{"Config": "c.json", "Layers": ["l.tar"]}], ("l.tar", BASE)), "c.json: no such file"),
        (_docker([{"Config": "c.json", "Layers": ["l.tar"]}], ("c.json", _config())), "l.tar: no such layer"),
        (_docker([{"Config": "c", "Layers": []}], ("c", _config())), "layers length mismatch: expected 0, got 1"),
        (_docker([{"Config": "c", "Layers": ["l"]}], ("c", _config()), ("l", TOP)), "invalid diffID for layer 0"),
        (_docker([{"Config": "c", "Layers": []}], ("c", _config(config={"Env": 5}))), "invalid image configuration"),
        (_docker([{"Config": "c", "Layers": []}], ("c", _config(os="windows"))), 'operating system "windows"'),
        (_docker([{"Config": "c", "Layers": [], "RepoTags": ["A"]}], ("c", Image([]).document)), "must be lowercase"),
        (_docker([{"Config": "c", "Layers": [], "RepoTags": ["a"]}], ("c", Image([]).document)), 'invalid tag "a"'),
        (_docker([], ("a", b"1"), ("a", b"2")), "is there twice"),
        (_docker([], ("../../a", b"1")), "is outside of it"),
        (archives.oci_layout([descriptor(b"{}", MANIFEST)]), "no such file"),
        (archives.oci_layout([]), "no image for this platform"),
        (archives.archive([("index.json", b'{"manifests":[],"layers":[]}')]), "both a manifest and an index"),
    ],
)  # fmt: skip
async def test_a_wrong_archive_is_a_clear_error_and_leaves_nothing(lab: Lab, data: bytes, message: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        await lab.load(data)
    assert message in error.value.message
    lab.settle()
    assert lab.on_disk() == set()
    assert list(lab.images) == []
    assert lab.events == []


async def test_a_layout_whose_documents_contradict_themselves_is_refused(lab: Lab) -> None:
    image = Image([BASE])
    wrong_size = descriptor(archives.manifest(image), MANIFEST) | {"size": 5}
    both = json.dumps({**json.loads(archives.manifest(image)), "manifests": []}).encode()
    chart = archives.manifest(image).replace(CONFIG.encode(), b"application/vnd.cncf.helm.config.v1+json")
    for top, data, message in (
        (wrong_size, archives.manifest(image), "not 5"),
        (descriptor(both, MANIFEST), both, "both a manifest and an index"),
        (descriptor(chart, MANIFEST), chart, "is no image configuration"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            await lab.load(archives.oci_layout([top], data, image.document, BASE))
    deep = archives.manifest(image)
    top = descriptor(deep, MANIFEST)
    blobs = [deep]
    for _ in range(8):
        blobs.append(archives.index([top]))
        top = descriptor(blobs[-1], INDEX)
    with pytest.raises(InvalidArgument, match="nested deeper"):
        await lab.load(archives.oci_layout([top], *blobs, image.document, BASE))


async def test_an_upload_that_breaks_off_leaves_nothing(lab: Lab) -> None:
    data = archives.docker_archive(Image([layer(member("f", os.urandom(2 << 20)))], ["x:1"]))

    async def broken() -> AsyncIterator[bytes]:
        yield data[: len(data) // 2]
        raise ConnectionResetError("peer went away")

    with pytest.raises(InvalidArgument, match="peer went away"):
        async for _ in load.load(lab.engine, broken()):
            pass
    lab.settle()
    assert lab.on_disk() == set()


async def test_a_client_that_goes_while_it_is_told_the_progress_leaves_nothing(lab: Lab) -> None:
    data = archives.docker_archive(Image([layer(member("f", os.urandom(4 << 20)))], ["x:1"]))
    messages = load.load(lab.engine, archives.pieces(data), quiet=False)
    assert (await anext(messages))["status"] == "Loading layer"
    await messages.aclose()
    lab.settle()
    assert lab.on_disk() == set()
    assert list(lab.images) == []


async def test_two_loads_of_the_same_image_at_once_share_its_layers(lab: Lab) -> None:
    data = archives.docker_archive(Image([BASE, TOP], ["x:1"]))
    await asyncio.gather(*(lab.load(data) for _ in range(4)))
    lab.settle()
    assert len(list(lab.images)) == 1
    assert len([name for name in lab.on_disk() if name.startswith("sha256-")]) == 2
    assert not [name for name in lab.on_disk() if name.startswith("tmp/")]
