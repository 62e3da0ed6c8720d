"""The relay of what reaches a port's socket, on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from orlop.network.datagrams import DatagramRelay
from orlop.network.relay import Relay, StreamRelay


@pytest.fixture
async def echo() -> AsyncIterator[tuple[str, int]]:
    """A server that answers with what it got, once the client has sent all."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()


def listener() -> socket.socket:
    return socket.create_server(("::1", 0), family=socket.AF_INET6)


async def exchange(address: tuple[str, int], data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address[:2])
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def test_bytes_and_half_closes_pass_both_ways(echo: tuple[str, int]) -> None:
    relay = Relay()
    with listener() as sock:
        relay.serve("e", sock, echo)
        data = bytes(range(256)) * 8192
        assert await asyncio.gather(*(exchange(sock.getsockname(), data) for _ in range(5))) == [data] * 5
        relay.close()


async def test_a_stopped_relay_ends_its_connections_and_leaves_the_callers_socket(echo: tuple[str, int]) -> None:
    relay = Relay()
    with listener() as sock:
        relay.serve("e", sock, echo)
        reader, writer = await asyncio.open_connection(*sock.getsockname()[:2])
        writer.write(b"x")
        await asyncio.sleep(0.05)
        relay.stop("e")
        relay.stop("e")
        assert await reader.read() == b""
        writer.close()
        assert sock.fileno() >= 0


async def test_a_client_of_a_container_that_does_not_listen_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        target = closed.getsockname()
    relay = StreamRelay(listener(), target)
    with pytest.raises(ConnectionResetError):
        await exchange(relay._listener.getsockname(), b"x")
    relay.close()


async def test_a_port_takes_no_more_connections_than_it_may(
    echo: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orlop.network.relay.MAX_CONNECTIONS", 2)
    relay = StreamRelay(listener(), echo)
    address = relay._listener.getsockname()
    held = [await asyncio.open_connection(*address[:2]) for _ in range(2)]
    waiting = asyncio.create_task(exchange(address, b"third"))
    await asyncio.sleep(0.1)
    assert len(relay._connections) == 2
    for _, writer in held:
        writer.close()
    assert await waiting == b"third"
    relay.close()


async def test_datagrams_of_several_clients_find_their_way_back() -> None:
    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
            self.transport = transport

        def datagram_received(self, data: bytes, address: object) -> None:
            self.transport.sendto(data.upper(), address)  # type: ignore[arg-type]

    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(Echo, ("127.0.0.1", 0))
    target = server.get_extra_info("sockname")
    for family, host in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")):
        front = socket.socket(family, socket.SOCK_DGRAM)
        front.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", 0))
        port = front.getsockname()[1]
        relay = DatagramRelay(front, target)
        clients = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(3)]
        for number, client in enumerate(clients):
            client.setblocking(False)
            client.connect((host, port))
            await loop.sock_sendall(client, b"n%d" % number)
        answers = [await asyncio.wait_for(loop.sock_recv(client, 99), 5) for client in clients]
        assert answers == [b"N0", b"N1", b"N2"]
        relay.close()
        for client in clients:
            client.close()
    server.close()
