"""Holding a host's ports, on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from orlop.errors import InvalidArgument
from orlop.model.record import EndpointRecord, PublishedPort
from orlop.network.network import PortRequest
from orlop.network.ports import HostPorts, PortTaken

ADDRESS = "172.17.0.2"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of 127.0.0.1 that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def holding(host_ip: str, number: int) -> EndpointRecord:
    """An endpoint of a running container that has a port."""
    port = PublishedPort(host_ip=host_ip, host_port=number, container_port=80, protocol="tcp")
    return EndpointRecord(network="bridge", network_id="", endpoint_id="e" * 64, ports=(port,))


def close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def test_a_port_that_a_program_has_is_refused_in_dockers_words(taken: int) -> None:
    with pytest.raises(PortTaken) as raised:
        HostPorts().bind([PortRequest(80, "tcp", "127.0.0.1", (taken, taken))], ADDRESS)
    assert str(raised.value) == (
        f"failed to bind host port for 127.0.0.1:{taken}:{ADDRESS}:80/tcp: address already in use"
    )
    assert raised.value.status == 500


def test_a_port_that_another_container_has_is_refused_in_dockers_words(free: int) -> None:
    ports = HostPorts()
    ports.adopt([holding("0.0.0.0", free)])
    with pytest.raises(PortTaken, match=f"^Bind for 127.0.0.1:{free} failed: port is already allocated$"):
        ports.bind([PortRequest(80, "tcp", "127.0.0.1", (free, free))], ADDRESS)
    _, sockets = ports.bind([PortRequest(80, "udp", "127.0.0.1", (free, free))], ADDRESS)
    close(sockets)


def test_all_ports_of_a_container_are_had_or_none(free: int, taken: int) -> None:
    ports = HostPorts()
    wanted = PortRequest(80, "tcp", "127.0.0.1", (free, free))
    with pytest.raises(PortTaken):
        ports.bind([wanted, PortRequest(81, "tcp", "127.0.0.1", (taken, taken))], ADDRESS)
    bound, sockets = ports.bind([wanted], ADDRESS)
    assert bound == (PublishedPort(host_ip="127.0.0.1", host_port=free, container_port=80, protocol="tcp"),)
    close(sockets)


def test_of_a_range_the_first_free_one_is_taken(taken: int) -> None:
    ports = HostPorts()
    ports.adopt([holding("127.0.0.1", taken + 1)])
    with pytest.raises(PortTaken, match="all ports are allocated"):
        ports.bind([PortRequest(80, "tcp", "127.0.0.1", (taken, taken + 1))], ADDRESS)
    bound, sockets = HostPorts().bind([PortRequest(80, "tcp", "127.0.0.1", (taken, taken + 50))], ADDRESS)
    assert taken < bound[0].host_port <= taken + 50
    close(sockets)


def test_any_port_is_the_same_for_both_ip_versions_and_not_soon_the_same_again() -> None:
    ports = HostPorts()
    bound, sockets = ports.bind([PortRequest(80, "tcp"), PortRequest(80, "udp")], ADDRESS)
    numbers = {(port.protocol, port.host_port) for port in bound}
    assert [port.host_ip for port in bound if port.protocol == "tcp"] in (["0.0.0.0", "::"], ["0.0.0.0"])
    assert len(numbers) == 2
    close(sockets)
    ports.release(bound)
    again, sockets = ports.bind([PortRequest(80, "tcp")], ADDRESS)
    assert ("tcp", again[0].host_port) not in numbers
    close(sockets)


def test_the_default_address_stands_in_for_none() -> None:
    bound, sockets = HostPorts("127.0.0.1").bind([PortRequest(80, "tcp")], ADDRESS)
    assert [port.host_ip for port in bound] == ["127.0.0.1"]
    close(sockets)


def test_addresses_that_are_not_the_hosts_and_nonsense_are_refused() -> None:
    with pytest.raises(Exception, match=r"192\.0\.2\.99:80.*: cannot assign requested address$"):
        HostPorts().bind([PortRequest(80, "tcp", "192.0.2.99", (80, 80))], ADDRESS)
    with pytest.raises(InvalidArgument):
        HostPorts().bind([PortRequest(80, "tcp", "localhost", (80, 80))], ADDRESS)
