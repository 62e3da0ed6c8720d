"""What an archive of an image holds: its configuration, and the tree that umoci, a third party, unpacks of it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.archives import CONFIG, LAYER, MANIFEST
from support.trees import shape

__all__ = ["Unpacked", "directory", "unpacked"]

Json = dict[str, Any]


@dataclass(frozen=True)
class Unpacked:
    """An image taken apart. Of `files`: type and mode, owner, content, link, device, capability, names of one file."""

    config: Json
    """What a container is made of."""

    platform: tuple[str, str]
    layers: int

    steps: list[bool]
    """For each step of the history whether it has a layer."""

    files: Json


def unpacked(archive: Path) -> Unpacked:
    """Take an archive as `docker save` writes it apart, beside where it lies."""
    place = archive.with_suffix(".parts")
    with tarfile.open(archive) as tar:
        tar.extractall(place / "archive", filter="data")
    document = json.loads((place / "archive/manifest.json").read_text())[0]
    config = json.loads((place / "archive" / document["Config"]).read_text())
    _layout(place, document)
    command = ["umoci", "unpack", "--image", f"{place}/layout:image", f"{place}/bundle"]
    subprocess.run(command, check=True, capture_output=True)
    found = Unpacked(
        config={key: value for key, value in config["config"].items() if value},
        platform=(config["os"], config["architecture"]),
        layers=len(config["rootfs"]["diff_ids"]),
        steps=[not step.get("empty_layer", False) for step in config["history"]],
        files=directory(place / "bundle/rootfs"),
    )
    shutil.rmtree(place)
    return found


def directory(root: Path) -> Json:
    """Return a tree as `Unpacked.files` shows it."""
    found = shape(str(root))
    for facts in found.values():
        del facts["time"]
        facts["mode"] = oct(facts["mode"])
        if len(facts.get("content", b"")) > 200:
            facts["content"] = hashlib.sha256(facts["content"]).hexdigest()
    return found


def _layout(place: Path, document: Json) -> None:
    """Write an OCI layout of the parts of an archive."""
    blobs = place / "layout/blobs/sha256"
    blobs.mkdir(parents=True)
    (place / "layout/oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def put(data: bytes, media: str) -> Json:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}

    layers = []
    for name in document["Layers"]:
        data = (place / "archive" / name).read_bytes()
        layers.append(put(data, f"{LAYER}+gzip" if data.startswith(b"\x1f\x8b") else LAYER))
    config = put((place / "archive" / document["Config"]).read_bytes(), CONFIG)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
    entry = put(json.dumps(manifest).encode(), MANIFEST)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "image"}
    (place / "layout/index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
