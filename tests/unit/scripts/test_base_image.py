import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts/base_image.py"

pytestmark = pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox-static")


def make(path: Path, **environment: str) -> bytes:
    kept = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    subprocess.run([sys.executable, SCRIPT, "--tag", "own:1", path], check=True, env={**kept, **environment})
    return path.read_bytes()


def config_of(data: bytes) -> Any:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        (image,) = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
        return json.loads(archive.extractfile(image["Config"]).read())  # type: ignore[union-attr]


def test_the_archive_is_the_same_each_time_and_every_digest_is_right(tmp_path: Path) -> None:
    data = make(tmp_path / "first.tar")
    assert data == make(tmp_path / "second.tar")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}  # type: ignore[union-attr]
    for name, content in files.items():
        if name.startswith("blobs/sha256/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    (image,) = json.loads(files["manifest.json"])
    assert image["RepoTags"] == ["own:1"]
    assert json.loads(files[image["Config"]])["rootfs"]["diff_ids"]
    (manifest,) = json.loads(files["index.json"])["manifests"]
    assert f"blobs/{manifest['digest'].replace(':', '/')}" in files


def test_the_layer_has_a_shell_users_and_an_open_tmp(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(make(tmp_path / "image.tar"))) as archive:
        (image,) = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
        layer = archive.extractfile(image["Layers"][0])
        with tarfile.open(fileobj=layer) as tree:
            assert tree.getmember("bin/sh").linkname == "busybox"
            assert tree.getmember("tmp").mode == 0o1777
            assert tree.getmember("etc/shadow").mode == 0o640
            assert b"root:x:0:0:" in tree.extractfile("etc/passwd").read()  # type: ignore[union-attr]
            assert {(member.uid, member.gid, member.mtime) for member in tree} == {(0, 0, 0)}


def test_the_image_is_as_old_as_its_program_unless_the_environment_dates_it(tmp_path: Path) -> None:
    program = Path(shutil.which("busybox") or "")
    of_program = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(program.stat().st_mtime))
    assert config_of(make(tmp_path / "a"))["created"] == of_program
    config = config_of(make(tmp_path / "b", SOURCE_DATE_EPOCH="1700000000"))
    assert config["created"] == config["history"][0]["created"] == "2023-11-14T22:13:20Z"
