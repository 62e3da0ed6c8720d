import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orlop.errors import Conflict, Error, InvalidArgument, NotFound
from orlop.model.api.volume import VolumeCreate
from orlop.store.store import Store
from orlop.volume.local import LocalVolumes
from orlop.volume.volume import ANONYMOUS_LABEL


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "orlop.db")
    yield opened
    await opened.close()


@pytest.fixture
async def volumes(tmp_path: Path, store: Store) -> LocalVolumes:
    return await reopen(tmp_path, store)


async def reopen(tmp_path: Path, store: Store) -> LocalVolumes:
    volumes = LocalVolumes(tmp_path, store)
    await volumes.open()
    return volumes


async def test_a_volume_is_a_directory_that_a_restart_finds(
    tmp_path: Path, store: Store, volumes: LocalVolumes
) -> None:
    record = await volumes.create(VolumeCreate(name="data", labels={"a": "b"}))
    path = Path(volumes.path(record))
    assert path == tmp_path / "volumes/data/_data"
    assert path.stat().st_mode & 0o7777 == 0o755
    assert [found.name for found in (await reopen(tmp_path, store)).list()] == ["data"]


async def test_creating_a_volume_again_returns_it_as_it_is(volumes: LocalVolumes) -> None:
    first = await volumes.create(VolumeCreate(name="data", labels={"a": "b"}))
    assert await volumes.create(VolumeCreate(name="data", labels={"other": ""}, driver_opts={"x": "y"})) == first


async def test_a_volume_without_a_name_is_anonymous(volumes: LocalVolumes) -> None:
    record = await volumes.create(VolumeCreate())
    assert len(record.name) == 64
    assert record.anonymous
    assert record.labels == {ANONYMOUS_LABEL: ""}


@pytest.mark.parametrize(
    ("request_", "kind", "message"),
    [
        (
            VolumeCreate(name="x/y"),
            InvalidArgument,
            'create x/y: "x/y" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" '
            "are allowed. If you intended to pass a host directory, use absolute path",
        ),
        (
            VolumeCreate(name="x"),
            InvalidArgument,
            "create x: volume name is too short, names should be at least two alphanumeric characters",
        ),
        (
            VolumeCreate(name="xy", driver="nfs"),
            NotFound,
            'create xy: error looking up volume plugin nfs: plugin "nfs" not found',
        ),
        (VolumeCreate(name="xy", driver_opts={"colour": "x"}), InvalidArgument, 'create xy: invalid option: "colour"'),
        (
            VolumeCreate(name="xy", driver_opts={"type": "cifs", "device": "//server:445/share"}),
            InvalidArgument,
            "create xy: port not allowed in CIFS device URL, include 'port' in 'o='",
        ),
        (
            VolumeCreate(name="xy", driver_opts={"type": "nfs"}),
            InvalidArgument,
            'create xy: missing required option: "device"',
        ),
    ],
)
async def test_what_cannot_be_made_is_refused_as_dockerd_does(
    volumes: LocalVolumes, request_: VolumeCreate, kind: type[Error], message: str
) -> None:
    with pytest.raises(kind) as caught:
        await volumes.create(request_)
    assert caught.value.message == message
    assert volumes.list() == []


async def test_a_removed_volume_is_gone_with_its_files(tmp_path: Path, volumes: LocalVolumes) -> None:
    record = await volumes.create(VolumeCreate(name="data"))
    (Path(volumes.path(record)) / "file").write_text("x")
    await volumes.remove("data")
    with pytest.raises(NotFound, match="get data: no such volume"):
        volumes.get("data")
    with pytest.raises(NotFound, match="get data: no such volume"):
        await volumes.remove("data")
    await volumes.remove("data", force=True)
    again = await volumes.create(VolumeCreate(name="data"))
    await volumes.close()
    assert os.listdir(tmp_path / "volumes") == ["data"]
    assert os.listdir(volumes.path(again)) == []


async def test_a_pinned_volume_is_not_removed(volumes: LocalVolumes) -> None:
    await volumes.create(VolumeCreate(name="data"))
    with volumes.pin("data"), pytest.raises(Conflict, match="remove data: volume is in use"):
        await volumes.remove("data")
    await volumes.remove("data")


async def test_a_start_after_a_crash_mends_what_was_cut_off(tmp_path: Path, store: Store) -> None:
    volumes = await reopen(tmp_path, store)
    for name in ("cut-off", "lost"):
        (Path(volumes.path(await volumes.create(VolumeCreate(name=name)))) / "file").write_text(name)
    root = tmp_path / "volumes"
    (root / "cut-off").rename(root / ".removing-cut-off.0123456789ab")  # the record was not deleted yet
    (root / ".removing-gone.0123456789ab/_data").mkdir(parents=True)  # the record was
    (root / "unborn/_data").mkdir(parents=True)  # the record was not written yet
    (root / "foreign/_data").mkdir(parents=True)
    (root / "foreign/_data/file").write_text("precious")
    (root / "lost/_data/file").unlink()
    (root / "lost/_data").rmdir()
    volumes = await reopen(tmp_path, store)
    await volumes.close()
    assert [record.name for record in volumes.list()] == ["cut-off", "foreign", "lost"]
    assert sorted(os.listdir(root)) == ["cut-off", "foreign", "lost"]
    assert (root / "cut-off/_data/file").read_text() == "cut-off"
    assert os.listdir(root / "lost/_data") == []


async def test_a_full_disk_is_said_and_leaves_nothing(volumes: LocalVolumes, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("orlop.volume.local._make", fail)
    with pytest.raises(Error, match="create data: No space left on device") as caught:
        await volumes.create(VolumeCreate(name="data"))
    assert caught.value.status == 503
    assert volumes.list() == []
