"""Reading logs while a shim's journal writer writes and rotates them in another process."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from orlop.runtime.logs import LogQuery, read_logs
from orlop.shim.log import Journal

WRITER = """
import sys, time
from orlop.shim.log import Journal

journal = Journal(sys.argv[1], 20_000, 500)
for number in range(20_000):
    journal.write(1 + number % 2, b"%d\\n" % number)
    if number % 200 == 0:
        time.sleep(0.001)
journal.close()
"""


async def test_a_follower_gets_every_line_once_and_in_order_over_many_rotations(tmp_path: Path) -> None:
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(tmp_path))

    async def finish() -> None:
        await writer.wait()
        ended.set_result(None)

    finishing = asyncio.create_task(finish())
    blocks = [block async for block in read_logs(str(tmp_path), LogQuery(follow=True), True, ended)]
    await finishing
    assert b"".join(blocks).split() == [b"%d" % number for number in range(20_000)]
    assert len(list(tmp_path.glob("journal.*"))) > 5


async def test_the_tail_of_both_streams_is_found_in_old_files(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), 300, 10)
    for number in range(100):
        journal.write(1 + number % 3 // 2, b"%d\n" % number)
    journal.close()
    for tail in (0, 1, 5, 40):
        blocks = [block async for block in read_logs(str(tmp_path), LogQuery(tail=tail), True)]
        assert b"".join(blocks).split() == [b"%d" % number for number in range(100 - tail, 100)]
    query = LogQuery(tail=3, stdout=False)
    blocks = [block async for block in read_logs(str(tmp_path), query, False)]
    assert [line for line in b"".join(blocks).split(b"\n") if line][-1].endswith(b"98")


async def test_a_journal_of_one_file_starts_again_and_is_followed(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), 500, 1)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    seen = b""
    journal.write(1, b"0\n")

    async def follow() -> None:
        nonlocal seen
        async for block in read_logs(str(tmp_path), LogQuery(follow=True), True, ended):
            seen += block

    follower = asyncio.create_task(follow())
    for number in range(1, 200):
        journal.write(1, b"%d\n" % number)
        await asyncio.sleep(0.002)
    journal.close()
    ended.set_result(None)
    await follower
    assert seen.split()[-1] == b"199"
    assert seen.split() == sorted(seen.split(), key=int)
