"""The store: transactions that share commits, and what is left after failures."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orlop.errors import Conflict, Internal, Unavailable
from orlop.model.api.container import ContainerConfig, HostConfig
from orlop.model.record import ContainerRecord, EventRecord, ImageRecord, VolumeRecord
from orlop.store import containers, events, images, meta, schema, volumes
from orlop.store.store import Store
from orlop.store.transaction import Transaction


def container(number: int, name: str = "") -> ContainerRecord:
    return ContainerRecord(
        id=f"{number:064x}",
        name=name or f"c{number}",
        created_at=1,
        image_id="sha256:0",
        config=ContainerConfig(),
        host_config=HostConfig(),
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "orlop.db")
    yield store
    await store.close()


async def test_what_was_written_is_there_after_closing_and_opening(tmp_path: Path) -> None:
    path = tmp_path / "orlop.db"
    store = await Store.open(path)
    image = ImageRecord(id="sha256:1", size=7)
    await store.write(lambda tx: containers.put(tx, container(1)))
    await store.write(lambda tx: images.put(tx, image), durable=False)
    await store.write(lambda tx: images.set_reference(tx, "docker.io/library/x:latest", image.id))
    await store.write(lambda tx: volumes.put(tx, VolumeRecord(name="v", created_at=3)))
    await store.write(lambda tx: meta.set(tx, "k", "w"))
    await store.close()
    assert not path.with_name("orlop.db-wal").exists()
    store = await Store.open(path)
    assert await store.read(containers.all) == [container(1)]
    assert await store.read(images.all) == [image]
    assert await store.read(images.references) == {"docker.io/library/x:latest": "sha256:1"}
    assert [volume.name for volume in await store.read(volumes.all)] == ["v"]
    assert await store.read(lambda tx: meta.get(tx, "k")) == "w"
    assert path.stat().st_mode & 0o777 == 0o600
    await store.close()


async def test_a_name_in_use_is_a_conflict_with_dockers_text_and_undoes_that_write_alone(store: Store) -> None:
    results = await asyncio.gather(
        store.write(lambda tx: containers.put(tx, container(1, "web"))),
        store.write(lambda tx: (containers.put(tx, container(2)), containers.put(tx, container(3, "web")))),
        store.write(lambda tx: containers.put(tx, container(4))),
        return_exceptions=True,
    )
    assert isinstance(results[1], Conflict)
    assert f'The container name "/web" is already in use by container "{1:064x}"' in str(results[1])
    assert {record.name for record in await store.read(containers.all)} == {"web", "c4"}


async def test_a_put_of_the_same_container_renames_it(store: Store) -> None:
    await store.write(lambda tx: containers.put(tx, container(1, "old")))
    await store.write(lambda tx: containers.put(tx, container(1, "new")))
    assert [record.name for record in await store.read(containers.all)] == ["new"]
    await store.write(lambda tx: containers.delete(tx, container(1).id))
    assert await store.read(containers.all) == []


async def test_what_a_write_raises_is_raised_to_its_caller_only(store: Store) -> None:
    def fail(tx: Transaction) -> None:
        meta.set(tx, "a", "lost")
        raise KeyError("mine")

    results = await asyncio.gather(
        store.write(lambda tx: meta.set(tx, "b", "kept")), store.write(fail), return_exceptions=True
    )
    assert results[0] is None
    assert isinstance(results[1], KeyError)
    assert await store.read(lambda tx: (meta.get(tx, "a"), meta.get(tx, "b"))) == (None, "kept")


async def test_writes_that_wait_together_are_committed_together(store: Store) -> None:
    commits: list[str] = []
    store._writer.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
    await asyncio.gather(*(store.write(lambda tx, n=n: meta.set(tx, str(n), "")) for n in range(200)))
    assert len(commits) < 100


async def test_a_full_disk_is_a_clear_error_and_loses_nothing(store: Store) -> None:
    await store.write(lambda tx: meta.set(tx, "before", "1"))
    pages = await store.write(lambda tx: tx.row("PRAGMA page_count"))
    store._writer.execute(f"PRAGMA max_page_count = {pages[0]}")
    results = await asyncio.gather(
        store.write(lambda tx: meta.set(tx, "small", "1")),
        store.write(lambda tx: meta.set(tx, "large", "x" * 100_000)),
        return_exceptions=True,
    )
    assert isinstance(results[1], Unavailable)
    assert "no space left on device" in str(results[1])
    store._writer.execute("PRAGMA max_page_count = 1000000")
    await store.write(lambda tx: meta.set(tx, "after", "1"))
    kept = await store.read(lambda tx: {key for (key,) in tx.rows("SELECT key FROM meta")})
    assert kept >= {"before", "after"}
    assert "large" not in kept
    assert ("small" in kept) == (results[0] is None)


async def test_a_cancelled_caller_does_not_disturb_the_others(store: Store) -> None:
    first = asyncio.ensure_future(store.write(lambda tx: meta.set(tx, "a", "1")))
    second = asyncio.ensure_future(store.write(lambda tx: meta.set(tx, "b", "1")))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert await store.read(lambda tx: meta.get(tx, "b")) == "1"


async def test_a_closed_store_refuses(store: Store) -> None:
    pending = asyncio.ensure_future(store.write(lambda tx: meta.set(tx, "a", "1")))
    await asyncio.sleep(0)
    await store.close()
    await pending
    with pytest.raises(Unavailable):
        await store.write(lambda tx: meta.set(tx, "a", "2"))
    with pytest.raises(Unavailable):
        await store.read(lambda tx: meta.get(tx, "a"))


async def test_a_read_cannot_write(store: Store) -> None:
    with pytest.raises(Unavailable, match="readonly"):
        await store.read(lambda tx: meta.set(tx, "a", "1"))


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "orlop.db"
    await (await Store.open(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(Internal, match="written by a newer orlopd"):
        await Store.open(path)


async def test_a_damaged_database_and_a_missing_directory_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "orlop.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(Internal, match="damaged"):
        await Store.open(tmp_path / "orlop.db")
    with pytest.raises(Unavailable, match="No such file"):
        await Store.open(tmp_path / "none" / "orlop.db")


def test_a_failed_migration_leaves_the_version_before_it() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(connection)
    with pytest.raises(sqlite3.Error):
        schema.migrate(connection, (*schema.MIGRATIONS, ("CREATE TABLE new (a)", "CREATE NONSENSE")))
    assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'new'").fetchone() is None


async def test_a_row_that_is_no_record_is_named(store: Store) -> None:
    await store.write(lambda tx: tx.execute("INSERT INTO volumes VALUES ('odd', '{}')"))
    with pytest.raises(Internal, match="volume odd"):
        await store.read(volumes.all)


async def test_events_come_back_by_time_and_are_bounded(store: Store) -> None:
    many = [EventRecord(time=n, type="container", action="start", actor="a") for n in range(10)]
    await store.write(lambda tx: events.append(tx, many), durable=False)
    assert [event.time for event in await store.read(lambda tx: events.between(tx, 3, 5))] == [3, 4, 5]
    await store.write(lambda tx: events.trim(tx, keep=2))
    assert [event.time for event in await store.read(lambda tx: events.between(tx, 0, 99))] == [8, 9]
    flood = many * 1300
    await store.write(lambda tx: events.append(tx, flood), durable=False)
    assert len(await store.read(lambda tx: events.between(tx, 0, 99))) == events.KEEP
