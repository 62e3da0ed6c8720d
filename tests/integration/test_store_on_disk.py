"""The store on a real disk: killed in the middle of writes, and with no space left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from orlop.errors import Unavailable
from orlop.linux import mount
from orlop.store import meta
from orlop.store.store import Store
from orlop.store.transaction import Transaction

WRITER = """
import asyncio, sys
from pathlib import Path
from orlop.store import meta
from orlop.store.store import Store

async def write(store, number):
    for step in range(10_000):
        await store.write(lambda tx: meta.set(tx, f"{number}.{step}", "x" * 500), durable=step % 2 == 0)
        print(f"{number}.{step}", flush=True)

async def main():
    store = await Store.open(Path(sys.argv[1]))
    await asyncio.gather(*(write(store, number) for number in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 300, 2000])
async def test_what_was_acknowledged_survives_a_kill_in_the_middle_of_writes(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "orlop.db"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:  # noqa: ASYNC220
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(lines)]
        writer.kill()
        acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    store = await Store.open(path)
    kept = await store.read(lambda tx: {key for (key,) in tx.rows("SELECT key FROM meta")})
    await store.close()
    assert set(acknowledged) <= kept


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a file system")
    directory = tmp_path / "disk"
    directory.mkdir()
    mount.mount("tmpfs", str(directory), "tmpfs", 0, b"size=1m")
    yield directory
    mount.umount2(str(directory), mount.MNT_DETACH)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


@pytest.mark.root
async def test_a_full_disk_fails_writes_clearly_and_they_work_again_when_there_is_room(small_disk: Path) -> None:
    store = await Store.open(small_disk / "orlop.db")
    await store.write(lambda tx: meta.set(tx, "first", "1"))
    ballast = small_disk / "ballast"
    fill(ballast)
    with pytest.raises(Unavailable, match=r"no space left on device"):
        await store.write(lambda tx: meta.set(tx, "large", "x" * 200_000))
    assert await store.read(lambda tx: meta.get(tx, "first")) == "1"
    ballast.unlink()
    await store.write(lambda tx: meta.set(tx, "last", "2"))
    await store.close()
    store = await Store.open(small_disk / "orlop.db")
    assert await store.read(lambda tx: (meta.get(tx, "first"), meta.get(tx, "last"))) == ("1", "2")
    await store.close()


@pytest.mark.root
async def test_on_a_full_disk_something_can_be_forgotten_and_the_reserve_for_that_comes_back(small_disk: Path) -> None:
    store = await Store.open(small_disk / "orlop.db")
    await store.write(lambda tx: meta.set(tx, "first", "1"))
    reserve = small_disk / "orlop.db-reserve"
    assert reserve.stat().st_blocks * 512 >= 256 << 10
    ballast = small_disk / "ballast"
    fill(ballast)

    def forget(tx: Transaction) -> None:
        tx.execute("DELETE FROM meta WHERE key = ?", ("first",))

    with suppress(Unavailable):
        for step in range(1000):  # until the write-ahead log has no page to spare
            await store.write(lambda tx, step=step: meta.set(tx, "last", str(step)))  # type: ignore[misc]
    with pytest.raises(Unavailable, match=r"no space left on device"):
        await store.write(forget)
    await store.write(forget, frees=True)
    assert await store.read(lambda tx: meta.get(tx, "first")) is None
    ballast.unlink()
    await store.write(lambda tx: meta.set(tx, "last", "2"))
    await store.close()
    assert reserve.exists()
