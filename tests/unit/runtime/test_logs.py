"""Reading log journals: what docker logs shows, over rotations and while the log grows."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from orlop.formats import journal
from orlop.runtime import log_files
from orlop.runtime.logs import LogQuery, details_prefix, read_logs

START = 1_700_000_000_000_000_000


class Writer:
    """Writes a journal as a shim does."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.time = START
        self.file = (directory / "journal").open("ab", buffering=0)

    def write(self, text: str, stream: int = journal.STDOUT) -> None:
        data = text.encode()
        self.file.write(journal.pack_header(stream, self.time, len(data)) + data)
        self.time += 1

    def rotate(self, keep: int = 10) -> None:
        self.file.close()
        for number in range(keep, 0, -1):
            old = self.directory / journal.file_name(number - 1)
            if old.exists():
                old.rename(self.directory / journal.file_name(number))
        self.file = (self.directory / "journal").open("ab", buffering=0)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(tmp_path)
    yield writer
    writer.file.close()


async def read(writer: Writer, *, tty: bool = True, **query: object) -> str:
    blocks = [block async for block in read_logs(str(writer.directory), LogQuery(**query), tty)]  # type: ignore[arg-type]
    return b"".join(blocks).decode()


def unframe(data: bytes) -> list[tuple[int, str]]:
    frames = []
    while data:
        length = int.from_bytes(data[4:8], "big")
        assert data[1:4] == b"\0\0\0"
        frames.append((data[0], data[8 : 8 + length].decode()))
        data = data[8 + length :]
    return frames


async def test_records_become_frames_of_their_stream_and_raw_bytes_for_a_terminal(writer: Writer) -> None:
    writer.write("one\ntwo\n")
    writer.write("bad\n", journal.STDERR)
    blocks = [block async for block in read_logs(str(writer.directory), LogQuery(), False)]
    assert unframe(b"".join(blocks)) == [(1, "one\ntwo\n"), (2, "bad\n")]
    only = [block async for block in read_logs(str(writer.directory), LogQuery(stdout=False), False)]
    assert unframe(b"".join(only)) == [(2, "bad\n")]
    assert await read(writer) == "one\ntwo\nbad\n"


async def test_no_journal_is_an_empty_log(tmp_path: Path) -> None:
    assert [block async for block in read_logs(str(tmp_path / "none"), LogQuery(tail=3), False)] == []


async def test_rotated_files_are_read_oldest_first_and_the_torn_end_is_left_out(writer: Writer) -> None:
    for number in range(5):
        writer.write(f"{number}\n")
        writer.rotate()
    writer.file.write(journal.pack_header(1, 1, 100) + b"torn")
    assert await read(writer) == "0\n1\n2\n3\n4\n"
    assert await read(writer, tail=2) == "3\n4\n"


async def test_records_beyond_a_block_and_many_blocks_are_read_whole(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "BLOCK", 64)
    lines = [f"line {number} {'x' * (number % 150)}\n" for number in range(300)]
    for line in lines:
        writer.write(line)
    assert await read(writer) == "".join(lines)
    for tail in (0, 1, 7, 299, 300, 1000):
        assert await read(writer, tail=tail) == "".join(lines[max(0, 300 - tail) :])


async def test_tail_counts_lines_not_records_and_a_last_line_without_an_end(writer: Writer) -> None:
    for part in ("a", "b\nc", "", "d", "\n", "e"):
        writer.write(part)
    assert await read(writer, tail=1) == "e"
    assert await read(writer, tail=2) == "cd\ne"
    assert await read(writer, tail=3) == "ab\ncd\ne"


async def test_timestamps_and_details_stand_in_front_of_lines_only(writer: Writer) -> None:
    writer.write("one\ntw")
    writer.write("o\n\nthree")
    assert await read(writer, timestamps=True, details=details_prefix({"b": "x y", "a": "1"})) == (
        "2023-11-14T22:13:20.000000000Z a=1,b=x+y one\n"
        "2023-11-14T22:13:20.000000000Z a=1,b=x+y two\n"
        "2023-11-14T22:13:20.000000001Z a=1,b=x+y \n"
        "2023-11-14T22:13:20.000000001Z a=1,b=x+y three"
    )
    assert details_prefix({}) == " "


async def test_since_and_until_are_times_of_records(writer: Writer) -> None:
    for number in range(6):
        writer.write(f"{number}\n")
        if number == 2:
            writer.rotate()
    assert await read(writer, since_ns=START + 2, until_ns=START + 4) == "2\n3\n4\n"
    assert await read(writer, since_ns=START + 2, until_ns=START + 4, tail=1) == "4\n"
    os.utime(writer.directory / "journal.1", ns=(START, START))
    assert await read(writer, since_ns=START + 3_000_000_000) == ""


async def test_a_log_that_grows_is_read_to_where_it_ended_when_it_is_not_followed(writer: Writer) -> None:
    writer.write("first\n")
    async with aclosing(read_logs(str(writer.directory), LogQuery(), True)) as blocks:
        assert await anext(blocks) == b"first\n"
        writer.write("later\n")
        assert [block async for block in blocks] == []


async def test_following_gives_what_is_written_over_rotations_until_the_writer_is_done(writer: Writer) -> None:
    ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    text = ""

    async def follow() -> str:
        query = LogQuery(follow=True, tail=1)
        return b"".join([block async for block in read_logs(str(writer.directory), query, True, ended)]).decode()

    writer.write("old\nseen\n")
    reader = asyncio.create_task(follow())
    await asyncio.sleep(0.02)
    for number in range(200):
        writer.write(f"{number}\n")
        text += f"{number}\n"
        if number % 30 == 0:
            writer.rotate()
            writer.rotate()
        if number % 3 == 0:
            await asyncio.sleep(0.001)
    ended.set_result(None)
    assert await reader == "seen\n" + text


async def test_following_waits_for_a_journal_that_is_not_there_yet_and_ends_with_until(tmp_path: Path) -> None:
    ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    query = LogQuery(follow=True, until_ns=time.time_ns() + 200_000_000)
    async with aclosing(read_logs(str(tmp_path), query, True, ended)) as blocks:
        waiting = asyncio.ensure_future(anext(blocks))
        await asyncio.sleep(0.02)
        writer = Writer(tmp_path)
        writer.write("hello\n")
        assert await waiting == b"hello\n"
        assert [block async for block in blocks] == []
        writer.file.close()
    assert not ended.cancelled()


async def test_damage_ends_a_file_and_the_next_is_read(writer: Writer) -> None:
    writer.write("good\n")
    writer.file.write(bytes(64))
    writer.rotate()
    writer.write("next\n")
    assert await read(writer) == "good\nnext\n"
    assert await read(writer, tail=5) == "good\nnext\n"


async def test_nothing_stays_open_when_a_follower_leaves(writer: Writer) -> None:
    writer.write("x\n")
    before = os.listdir("/proc/self/fd")
    ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    for _ in range(3):
        async with aclosing(read_logs(str(writer.directory), LogQuery(follow=True), True, ended)) as blocks:
            await anext(blocks)
            waiting = asyncio.ensure_future(anext(blocks))
            await asyncio.sleep(0.02)
            waiting.cancel()
            await asyncio.wait([waiting])
    assert os.listdir("/proc/self/fd") == before
