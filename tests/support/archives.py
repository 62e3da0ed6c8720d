"""Archives for tests, written with the standard library's tarfile: layers, and images in every form that is loaded."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from orlop.engine.images import load
from orlop.image.images import Images
from orlop.store.store import Store

Json = dict[str, Any]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Member(tarfile.TarInfo):
    """A member with its content."""

    data = b""


def member(name: str, data: bytes | None = None, *, kind: bytes = tarfile.REGTYPE, **fields: Any) -> Member:
    """Return a member for `layer`; a name that ends with a slash is a directory."""
    info = Member(name.rstrip("/") or "/")
    info.type = tarfile.DIRTYPE if name.endswith("/") and kind == tarfile.REGTYPE else kind
    info.mode = 0o755 if info.isdir() else 0o644
    info.size = len(data or b"") if kind == tarfile.REGTYPE else 0
    info.mtime = 1_700_000_000
    for key, value in fields.items():
        setattr(info, key, value)
    info.data = data or b""
    return info


def layer(*members: Member, format: int = tarfile.PAX_FORMAT) -> bytes:
    """Return the tar of `members`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(info.data) if info.size else None)
    return out.getvalue()


def tree(files: dict[str, bytes]) -> bytes:
    """Return a layer with these files and the directories that they are in."""
    directories = {"./"}
    for name in files:
        parts = name.split("/")[:-1]
        directories.update("/".join(parts[: index + 1]) + "/" for index in range(len(parts)))
    return layer(*(member(name) for name in sorted(directories)), *(member(name, files[name]) for name in files))


def digest(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@dataclass
class Image:
    """An image to be written: plain layer tars, bottom first."""

    layers: list[bytes]
    names: list[str] = field(default_factory=list)
    config: Json = field(default_factory=dict)
    architecture: str = "amd64"
    created: str = "2026-01-02T03:04:05.678Z"
    extra: Json = field(default_factory=dict)

    @property
    def document(self) -> bytes:
        document: Json = {
            "architecture": self.architecture,
            "os": "linux",
            "created": self.created,
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in self.layers]},
            "history": [{"created": self.created, "created_by": f"step {index}"} for index in range(len(self.layers))],
            **self.extra,
        }
        return json.dumps(document).encode()

    @property
    def id(self) -> str:
        return digest(self.document)


def archive(files: Sequence[tuple[str, bytes]], links: dict[str, str] | None = None) -> bytes:
    """Return a tar of these files, in this order, with symbolic links behind them."""
    infos = [member(name, data) for name, data in files]
    infos += [member(name, kind=tarfile.SYMTYPE, linkname=target) for name, target in (links or {}).items()]
    return layer(*infos)


def blob_path(data: bytes) -> str:
    return "blobs/" + digest(data).replace(":", "/")


def docker_archive(*images: Image) -> bytes:
    """Return what `docker save` writes today: blobs first, the manifest last."""
    blobs = {blob_path(data): data for image in images for data in [*image.layers, image.document]}
    manifest = [
        {
            "Config": blob_path(image.document),
            "RepoTags": image.names or None,
            "Layers": [blob_path(data) for data in image.layers],
        }
        for image in images
    ]
    return archive([*sorted(blobs.items()), ("manifest.json", json.dumps(manifest).encode())])


def docker_archive_1_10(image: Image) -> bytes:
    """Return what Docker 1.10 to 24 wrote: a directory a layer, a repeated layer as a symbolic link."""
    files: list[tuple[str, bytes]] = [("manifest.json", b"")]
    links: dict[str, str] = {}
    first: dict[bytes, str] = {}
    paths = []
    for index, data in enumerate(image.layers):
        path = f"{index:064x}/layer.tar"
        if data in first:
            links[path] = f"../{first[data]}"
        else:
            first[data] = path
            files.append((path, data))
        files.append((f"{index:064x}/VERSION", b"1.0"))
        paths.append(path)
    name = image.id.partition(":")[2] + ".json"
    manifest = [{"Config": name, "RepoTags": image.names, "Layers": paths}]
    files[0] = ("manifest.json", json.dumps(manifest).encode())
    return archive([*files, (name, image.document)], links)


def docker_archive_1_0(layers: list[bytes], repository: str, tag: str) -> bytes:
    """Return what Docker before 1.10 wrote: `repositories`, and a description a layer."""
    files: list[tuple[str, bytes]] = []
    for index, data in enumerate(layers):
        document: Json = {"id": f"{index + 1:064x}", "created": "2015-01-01T00:00:00Z", "os": "linux"}
        document["architecture"] = "amd64"
        document["config"] = {"Cmd": ["/bin/sh"]}
        if index:
            document["parent"] = f"{index:064x}"
        files += [(f"{index + 1:064x}/json", json.dumps(document).encode()), (f"{index + 1:064x}/layer.tar", data)]
    repositories = {repository: {tag: f"{len(layers):064x}"}}
    return archive([*files, ("repositories", json.dumps(repositories).encode())])


def descriptor(data: bytes, media_type: str, **fields: Any) -> Json:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **fields}


def manifest(image: Image, layers: Sequence[tuple[bytes, str]] | None = None) -> bytes:
    """Return the OCI manifest of an image; `layers` are its layers as stored, with the suffix of their type."""
    stored = layers if layers is not None else [(data, "") for data in image.layers]
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(image.document, CONFIG),
            "layers": [descriptor(data, LAYER + suffix) for data, suffix in stored],
        }
    ).encode()


def index(descriptors: Sequence[Json]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(descriptors)}).encode()


def oci_layout(top: Sequence[Json], *blobs: bytes) -> bytes:
    """Return an OCI layout in a tar; `top` is what its index lists."""
    files = [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index(top))]
    return archive([*files, *((blob_path(data), data) for data in dict.fromkeys(blobs))])


class Lab:
    """Images on a data root of their own, with what else the use cases ask an engine for."""

    def __init__(self, root: Path, store: Store, images: Images) -> None:
        self.root = root
        self.store = store
        self.images = images
        self.events: list[tuple[str, str, Json]] = []
        self.containers: list[Any] = []
        self.engine: Any = SimpleNamespace(
            images=images,
            store=store,
            containers=self.containers,
            build_cache=[],
            events=SimpleNamespace(
                publish=lambda type, action, actor, attributes: self.events.append((action, actor, attributes))
            ),
        )

    @classmethod
    async def open(cls, root: Path) -> Lab:
        store = await Store.open(root / "orlop.db")
        return cls(root, store, await Images.open(root, store))

    async def close(self) -> None:
        await self.images.close()
        await self.store.close()

    async def reopen(self) -> None:
        """Do as a daemon that is started again."""
        await self.images.close()
        self.images = self.engine.images = await Images.open(self.root, self.store)

    async def load(self, data: bytes, *, piece: int = 65536, **options: Any) -> list[Json]:
        """Load an archive; return the messages."""
        return [message async for message in load.load(self.engine, pieces(data, piece), **options)]

    def settle(self) -> None:
        """Wait until all that was removed is gone from the disk."""
        self.images.scratch.settle()

    def layer(self, image: str, number: int = 0) -> Path:
        """Return the directory of an image's layer, topmost is 0."""
        return Path(self.images.layers.directories(self.images.resolve(image))[number])

    def on_disk(self) -> set[str]:
        """Return every blob, layer and scratch file that there is."""
        found = {path.name for path in (self.root / "content").glob("*/*")}
        found |= {path.name for path in (self.root / "layers").iterdir()} - {"empty"}
        return found | {f"tmp/{path.name}" for path in (self.root / "tmp").iterdir() if path.name != "partial"}


async def pieces(data: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    for position in range(0, len(data), size):
        yield data[position : position + size]
