"""What benchmarks work on: an image of many files, a long text, a small server. Made once, kept in /var/tmp."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tarfile
from pathlib import Path

__all__ = ["IMAGE", "SERVER", "archive", "text"]

IMAGE = "orlop-bench-files:latest"
SERVER = Path(__file__).parent / "server.py"
_CACHE = Path("/var/tmp/orlop-bench")
_ARCHIVE_MIB = 200
_TEXT_MB = 200


def archive() -> Path:
    """Return a `docker save` archive of one layer: copies of this machine's small files, as a distribution has them."""
    path = _CACHE / "files.tar"
    if path.exists():
        return path
    _CACHE.mkdir(exist_ok=True)
    layer = _CACHE / "layer.tar"
    total = 0
    with tarfile.open(layer, "w", format=tarfile.GNU_FORMAT) as tar:
        for directory, _, names in os.walk("/usr/share"):
            for name in names:
                file = Path(directory, name)
                if file.is_file() and not file.is_symlink() and file.stat().st_size < 4 << 20:
                    tar.add(file, str(file).lstrip("/"), recursive=False)
                    total += file.stat().st_size
            if total > _ARCHIVE_MIB << 20:
                break
    diff_id = hashlib.sha256(layer.read_bytes()).hexdigest()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "files of this machine"}],
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [IMAGE], "Layers": ["layer/layer.tar"]}]).encode()
    fresh = path.with_suffix(".new")
    with tarfile.open(fresh, "w") as tar:
        tar.add(layer, "layer/layer.tar")
        for member, data in ((name, config), ("manifest.json", manifest)):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    layer.unlink()
    fresh.rename(path)
    return path


def text() -> Path:
    """Return a file of lines of a hundred characters."""
    path = _CACHE / "text"
    if not path.exists():
        _CACHE.mkdir(exist_ok=True)
        block = (("the ship lies low in the water, " * 3 + "123\n") * 10_000).encode()
        with path.with_suffix(".new").open("wb") as file:
            for _ in range(_TEXT_MB * 1_000_000 // len(block)):
                file.write(block)
        path.with_suffix(".new").rename(path)
    return path
