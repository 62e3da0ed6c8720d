"""The directories of cache mounts: who may be in one together, who waits, what is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

import pytest

from orlop.engine.builds.cache_mounts import CacheMounts, cache_key
from orlop.image.scratch import Scratch

KEY = cache_key("id", "")
Sharing = Literal["shared", "private", "locked"]


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    scratch = Scratch(tmp_path / "tmp")
    yield scratch
    scratch.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mounts"


def _with(
    path: Path, scratch: Scratch, work: Callable[[CacheMounts, AsyncExitStack], Coroutine[Any, Any, None]]
) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            await work(CacheMounts(path, scratch), stack)

    asyncio.run(run())


async def _enter(caches: CacheMounts, stack: AsyncExitStack, sharing: Sharing, key: str = KEY) -> str:
    directory = await stack.enter_async_context(caches.entered(key, "id", sharing, lambda _: None))
    return directory.parent.name


def test_those_who_share_are_in_one_directory(path: Path, scratch: Scratch) -> None:
    async def work(caches: CacheMounts, stack: AsyncExitStack) -> None:
        assert await _enter(caches, stack, "shared") == await _enter(caches, stack, "shared") == f"{KEY}-0"
        assert await _enter(caches, stack, "private") == f"{KEY}-1"
        assert await _enter(caches, stack, "shared", cache_key("id", "other")) != f"{KEY}-0"

    _with(path, scratch, work)


def test_a_private_directory_is_used_again_by_the_next(path: Path, scratch: Scratch) -> None:
    async def work(caches: CacheMounts, stack: AsyncExitStack) -> None:
        async with AsyncExitStack() as first:
            assert await _enter(caches, first, "private") == f"{KEY}-0"
            assert await _enter(caches, first, "private") == f"{KEY}-1"
        assert await _enter(caches, stack, "private") == f"{KEY}-0"
        assert await _enter(caches, stack, "shared") == f"{KEY}-1"

    _with(path, scratch, work)


def test_who_locks_waits_until_it_is_alone_and_may_give_up(path: Path, scratch: Scratch) -> None:
    async def work(caches: CacheMounts, stack: AsyncExitStack) -> None:
        async with AsyncExitStack() as first:
            await _enter(caches, first, "shared")
            waiting = asyncio.ensure_future(_enter(caches, stack, "locked"))
            given_up = asyncio.ensure_future(_enter(caches, stack, "locked"))
            await asyncio.sleep(0.01)
            given_up.cancel()
            assert not waiting.done()
        assert await waiting == f"{KEY}-0"
        assert await _enter(caches, stack, "shared") == f"{KEY}-1"  # never together with one that has locked

    _with(path, scratch, work)


def test_content_is_made_once_and_one_that_fails_leaves_nothing(path: Path, scratch: Scratch) -> None:
    made: list[Path] = []

    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise OSError("no")

    async def work(caches: CacheMounts, stack: AsyncExitStack) -> None:
        with pytest.raises(OSError, match="no"):
            await stack.enter_async_context(caches.entered(KEY, "id", "shared", fail))
        assert caches.all() == []
        for _ in range(2):
            directory = await stack.enter_async_context(caches.entered(KEY, "id", "shared", made.append))
            assert list(directory.iterdir()) == []

    _with(path, scratch, work)
    assert len(made) == 1


def test_what_there_is_is_listed_and_removed_when_nobody_is_in_it(path: Path, scratch: Scratch) -> None:
    async def work(caches: CacheMounts, stack: AsyncExitStack) -> None:
        async with AsyncExitStack() as first:
            await _enter(caches, first, "shared")
            assert [mount.in_use for mount in caches.all()] == [True]
            assert not caches.remove(f"{KEY}-0")
        await _enter(caches, stack, "private", cache_key("other", ""))
        first_mount, second = CacheMounts(path, scratch).all()  # as the next engine finds them
        assert (first_mount.name, first_mount.id, first_mount.uses, first_mount.in_use) == (f"{KEY}-0", "id", 1, False)
        assert first_mount.created_at <= first_mount.used_at <= second.used_at
        assert first_mount.size > 0
        assert caches.remove(f"{KEY}-0")
        assert not caches.remove(f"{KEY}-0")

    _with(path, scratch, work)


def test_a_damaged_note_costs_what_it_said_and_no_more(path: Path, scratch: Scratch) -> None:
    async def work(caches: CacheMounts, stack: AsyncExitStack) -> None:
        async with AsyncExitStack() as first:
            await _enter(caches, first, "shared")
        (path / f"{KEY}-0/about.json").write_bytes(b"{")
        assert [mount.uses for mount in caches.all()] == [0]
        assert await _enter(caches, stack, "shared") == f"{KEY}-0"
        assert [(mount.uses, mount.id) for mount in caches.all()] == [(1, "id")]

    _with(path, scratch, work)
