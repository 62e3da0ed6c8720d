"""Clients that attach before the start."""

from __future__ import annotations

import asyncio
import socket

import pytest

from orlop.runtime.attach import Parking
from orlop.runtime.runtime import Attach


@pytest.fixture
def gone() -> list[str]:
    return []


async def test_parked_sockets_are_given_out_in_order_and_unread(gone: list[str]) -> None:
    parking = Parking()
    pairs = [socket.socketpair() for _ in range(3)]
    for number, (client, server) in enumerate(pairs):
        client.sendall(b"input")
        parking.park("c" if number < 2 else "other", Attach(str(number), server.detach()), lambda: gone.append("x"))
    taken = parking.take("c")
    assert [attach.id for attach in taken] == ["0", "1"]
    assert parking.take("c") == ()
    for attach in taken:
        with socket.socket(fileno=attach.fd) as sock:
            assert sock.recv(99) == b"input"
    parking.close()
    with pytest.raises(ConnectionResetError):  # hung up on, with its input unread
        pairs[2][0].recv(1)
    assert gone == []
    for client, _ in pairs:
        client.close()


async def test_a_client_that_hangs_up_is_noticed_and_one_that_only_ends_its_input_is_not(gone: list[str]) -> None:
    parking = Parking()
    leaving, server = socket.socketpair()
    noticed = asyncio.Event()
    parking.park("c", Attach("leaving", server.detach()), lambda: (gone.append("leaving"), noticed.set()))
    silent, server = socket.socketpair()
    parking.park("c", Attach("silent", server.detach()), lambda: gone.append("silent"))
    silent.shutdown(socket.SHUT_WR)
    leaving.close()
    await noticed.wait()
    assert gone == ["leaving"]
    assert [attach.id for attach in parking.take("c")] == ["silent"]
    parking.close()
