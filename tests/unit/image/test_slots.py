"""A semaphore whose limit changes."""

from __future__ import annotations

import asyncio

from orlop.image.slots import Slots


async def enter(slots: Slots, count: int) -> tuple[list[int], list[asyncio.Task[None]], asyncio.Event]:
    """Let `count` tasks want in; return who is inside, the tasks, and what lets them out."""
    inside: list[int] = []
    leave = asyncio.Event()

    async def visitor(number: int) -> None:
        async with slots:
            inside.append(number)
            await leave.wait()

    tasks = [asyncio.create_task(visitor(number)) for number in range(count)]
    await asyncio.sleep(0.01)
    return inside, tasks, leave


async def test_only_so_many_are_inside_and_the_others_follow_in_order() -> None:
    inside, tasks, leave = await enter(Slots(2), 5)
    assert inside == [0, 1]
    leave.set()
    await asyncio.gather(*tasks)
    assert inside == [0, 1, 2, 3, 4]


async def test_a_greater_limit_lets_in_at_once_and_zero_everybody() -> None:
    slots = Slots(1)
    inside, tasks, leave = await enter(slots, 6)
    slots.resize(3)
    await asyncio.sleep(0)
    assert inside == [0, 1, 2]
    slots.resize(0)
    await asyncio.sleep(0)
    assert len(inside) == 6
    leave.set()
    await asyncio.gather(*tasks)


async def test_who_gives_up_waiting_takes_no_place() -> None:
    slots = Slots(1)
    inside, tasks, leave = await enter(slots, 3)
    tasks[1].cancel()
    leave.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert inside == [0, 2]
    async with asyncio.timeout(5), slots:
        pass
