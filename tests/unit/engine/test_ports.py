"""Which ports a container publishes."""

from __future__ import annotations

import pytest

from orlop.engine.containers.ports import parse_port, parse_range, requests
from orlop.errors import InvalidArgument
from orlop.model.api.container import ContainerConfig, HostConfig, PortBinding
from orlop.network.network import PortRequest


def test_a_binding_is_published_at_its_address() -> None:
    host = HostConfig(port_bindings={"80/tcp": [PortBinding(host_ip="127.0.0.1", host_port="8080")]})
    assert requests(ContainerConfig(), host) == (PortRequest(80, "tcp", "127.0.0.1", (8080, 8080)),)


def test_a_binding_without_an_address_takes_the_daemons_default() -> None:
    host = HostConfig(port_bindings={"53/udp": [PortBinding(host_port="5000-5010")]})
    assert requests(ContainerConfig(), host, "10.0.0.1") == (PortRequest(53, "udp", "10.0.0.1", (5000, 5010)),)


def test_publish_all_adds_exposed_ports_that_have_no_binding() -> None:
    host = HostConfig(publish_all_ports=True, port_bindings={"80/tcp": [PortBinding(host_port="1")]})
    config = ContainerConfig(exposed_ports={"80/tcp": {}, "90-91/tcp": {}})
    assert [port.container_port for port in requests(config, host)] == [80, 90, 91]


def test_a_null_list_of_bindings_publishes_nothing() -> None:
    assert requests(ContainerConfig(), HostConfig(port_bindings={"80/tcp": None})) == ()


@pytest.mark.parametrize("port", ["", "x", "0", "65536", "80/icmp", "-1", "8０"])
def test_what_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_port(port)


@pytest.mark.parametrize(
    "binding",
    [
        PortBinding(host_ip="host"),
        PortBinding(host_port="x"),
        PortBinding(host_port="9-8"),
        PortBinding(host_port="70000"),
    ],
)
def test_what_is_no_binding_is_refused(binding: PortBinding) -> None:
    with pytest.raises(InvalidArgument):
        requests(ContainerConfig(), HostConfig(port_bindings={"80/tcp": [binding]}))


def test_a_range_is_every_port_of_it() -> None:
    assert parse_range("8000-8002/udp") == [(8000, "udp"), (8001, "udp"), (8002, "udp")]
