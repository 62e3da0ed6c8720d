"""Who reaches a published port and who must not: from the host, from containers, from a neighbour, hostile ones too."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.formats.ctnetlink import Match, list_flows, parse_flow
from orlop.linux.netlink import NETLINK_NETFILTER, Netlink
from orlop.network.drivers.bridge import BridgeDriver
from orlop.network.network import BridgeOptions, Endpoint, EndpointRequest, PortRequest
from support.network_lab import PATIENCE, REFUSAL, Lab, Namespace, why_not

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(why_not()), reason=why_not() or "ready")]

Question = tuple[str, Namespace, str, int]  # expected answer, from where, to which address and port

HOSTILE = (
    "link set lo down",
    "route replace 127.0.0.1/32 via {gateway}",
    "route add 172.30.0.0/24 via {gateway}",
    "route del local 127.0.0.0/8 dev lo table local",
    "route del local 127.0.0.1 dev lo table local",
)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


def both(container_port: int, host_port: int, host_ip: str = "") -> tuple[PortRequest, ...]:
    return tuple(PortRequest(container_port, protocol, host_ip, (host_port, host_port)) for protocol in ("tcp", "udp"))


async def attach(
    lab: Lab, driver: BridgeDriver, role: str, ports: tuple[PortRequest, ...] = (), number: int = 1
) -> tuple[Namespace, Endpoint]:
    """A container with a server on port 80 that says `role`."""
    namespace = lab.add(role)
    endpoint = await driver.allocate(EndpointRequest("c" * 64, f"{number:08x}" + "0" * 56, ports=ports))
    namespace.configure(await driver.connect(endpoint, namespace.fd))
    lab.servers.add(namespace, role, "0.0.0.0", 80)
    if endpoint.record.address6:
        lab.servers.add(namespace, role, "::", 80)
    return namespace, endpoint


async def surprises(questions: list[Question]) -> list[str]:
    """Ask all at once, by TCP and UDP; return what was not as expected."""
    asked = [(*question, protocol) for question in questions for protocol in ("tcp", "udp")]
    answers = await asyncio.gather(
        *(
            asyncio.to_thread(source.ask, address, port, protocol, REFUSAL if wanted == "-" else PATIENCE)
            for wanted, source, address, port, protocol in asked
        )
    )
    return [
        f"{source.name} → {address} port {port}/{protocol}: {answer!r} instead of {wanted!r}"
        for (wanted, source, address, port, protocol), answer in zip(asked, answers, strict=True)
        if answer != wanted
    ]


def table(wanted: str, source: Namespace, addresses: str, port: int) -> list[Question]:
    return [(wanted, source, address, port) for address in addresses.split()]


def make_hostile(namespace: Namespace, gateway: str) -> None:
    for command in HOSTILE:
        namespace.ip(command.format(gateway=gateway), check=False)
    namespace.sysctl("net/ipv4/conf/all/route_localnet", "1")


@pytest.mark.parametrize("bridge_netfilter", ["0", "1"])
@pytest.mark.parametrize("icc", [True, False])
async def test_published_ports_are_reached_from_everywhere_and_nothing_else_is(
    lab: Lab, bridge_netfilter: str, icc: bool
) -> None:
    if not lab.bridge_netfilter(bridge_netfilter):
        pytest.skip("bridge-nf-call-iptables cannot be set here")
    neighbour = lab.neighbour()
    driver = BridgeDriver(
        BridgeOptions(instance="a1b2c3", address="172.30.0.1/24", ipv6=True, fixed_cidr6="fd30::/64", icc=icc), lab.run
    )
    await driver.open([])
    a, _ = await attach(lab, driver, "A", both(80, 8080), 1)
    b, _ = await attach(lab, driver, "B", both(80, 8081, "127.0.0.1"), 2)
    lab.servers.add(lab.host, "HOST", "127.0.0.1", 9999)
    lab.servers.add(lab.host, "HOST", "::1", 9999)
    host = lab.host
    by_neighbours = "A" if icc else "-"

    assert not await surprises(
        [
            *table("A", host, "127.0.0.1 127.0.0.5 10.9.0.1 172.30.0.1 fd09::1 fd30::1 ::1", 8080),
            *table("B", host, "127.0.0.1", 8081),
            *table("-", host, "10.9.0.1 ::1", 8081),
            *table("A", a, "10.9.0.1 172.30.0.1 fd09::1", 8080),
            *table("A", b, "10.9.0.1 172.30.0.1 fd09::1", 8080),
            *table("A", neighbour, "10.9.0.1 fd09::1", 8080),
            *table("-", neighbour, "10.9.0.1", 8081),
            *table(by_neighbours, b, "172.30.0.2 fd30::2", 80),
            *table("A", host, "172.30.0.2 fd30::2", 80),
        ]
    )
    lab.servers.heard.clear()
    make_hostile(neighbour, "10.9.0.1")
    neighbour.ip("route add fd30::/64 via fd09::1", check=False)
    assert not await surprises(
        [
            *table("-", neighbour, "127.0.0.1", 9999),
            *table("-", neighbour, "127.0.0.1", 8081),
            *table("-", neighbour, "172.30.0.2 172.30.0.3 fd30::2", 80),
        ]
    )
    make_hostile(a, "172.30.0.1")
    assert not await surprises([*table("-", a, "127.0.0.1", 9999)])
    assert not lab.servers.heard  # an answer that does not come back is no proof
    await driver.close()


async def test_containers_reach_the_outside_with_the_hosts_address(lab: Lab) -> None:
    neighbour = lab.neighbour()
    lab.servers.add(neighbour, "N", "10.9.0.2", 80)
    neighbour.ip("route del default")  # answers come only if they are for the host itself
    driver = BridgeDriver(BridgeOptions(instance="a1b2c3", address="172.30.0.1/24"), lab.run)
    await driver.open([])
    a, _ = await attach(lab, driver, "A")

    assert not await surprises(table("N", a, "10.9.0.2", 80))
    await driver.close()


async def test_clients_with_ipv6_reach_a_container_that_has_only_ipv4(lab: Lab) -> None:
    neighbour = lab.neighbour()
    driver = BridgeDriver(BridgeOptions(instance="a1b2c3", address="172.30.0.1/24"), lab.run)
    await driver.open([])
    a, _ = await attach(lab, driver, "A", both(80, 8080))

    assert not await surprises(
        [*table("A", neighbour, "10.9.0.1 fd09::1", 8080), *table("A", lab.host, "::1 fd09::1", 8080)]
    )
    assert a.sysctl("net/ipv6/conf/eth0/disable_ipv6") == "1"
    await driver.close()


async def test_ports_are_served_while_somebody_has_flushed_the_rules_and_come_back_with_the_next_change(
    lab: Lab,
) -> None:
    driver = BridgeDriver(BridgeOptions(instance="a1b2c3", address="172.30.0.1/24"), lab.run)
    await driver.open([])
    await attach(lab, driver, "A", both(80, 8080))
    lab.host.run("nft", "flush", "ruleset")

    assert not await surprises(table("A", lab.host, "127.0.0.1 172.30.0.1 ::1", 8080))
    await attach(lab, driver, "B", both(80, 8081), number=2)
    rules = lab.ruleset()
    assert "8080" in rules
    assert "8081" in rules
    await driver.close()


async def test_a_udp_client_that_was_there_before_is_translated_once_the_port_is_published(lab: Lab) -> None:
    neighbour = lab.neighbour()
    driver = BridgeDriver(BridgeOptions(instance="a1b2c3", address="172.30.0.1/24"), lab.run)
    await driver.open([])
    with neighbour.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(0.1)
    client.connect(("10.9.0.1", 8080))

    def taken_to(address: str) -> bool:
        """Send datagrams until the host takes those of this client to `address`, for some seconds."""
        for _ in range(100):
            with contextlib.suppress(OSError):
                client.send(b"who?")
                client.recv(99)
            with Netlink(NETLINK_NETFILTER) as netlink:
                found = [parse_flow(message) for message in netlink.dump(list_flows(Match(4, source="10.9.0.2")))]
            if {flow.answering for flow in found if flow.port == 8080} == {address}:
                return True
            time.sleep(0.05)
        return False

    assert await asyncio.to_thread(taken_to, "10.9.0.1")
    _, endpoint = await attach(lab, driver, "A", both(80, 8080))
    assert await asyncio.to_thread(taken_to, "172.30.0.2")
    await driver.release(endpoint.record)
    await driver.close()
    assert await asyncio.to_thread(taken_to, "10.9.0.1")
    client.close()


async def test_a_host_that_orlop_made_forward_is_no_router_for_others(lab: Lab) -> None:
    neighbour = lab.neighbour()
    beyond = lab.add("X")
    lab.host.ip(f"link add wire2 type veth peer name eth0 netns {beyond.name}")
    for namespace, device, number in ((lab.host, "wire2", 1), (beyond, "eth0", 2)):
        namespace.ip(f"addr add 10.10.0.{number}/24 dev {device}")
        namespace.ip(f"link set {device} up")
    beyond.ip("route add default via 10.10.0.1")
    lab.servers.add(beyond, "X", "0.0.0.0", 80)
    lab.host.sysctl("net/ipv4/ip_forward", "0")
    driver = BridgeDriver(BridgeOptions(instance="a1b2c3", address="172.30.0.1/24"), lab.run)
    await driver.open([])
    a, endpoint = await attach(lab, driver, "A")

    assert lab.host.sysctl("net/ipv4/ip_forward") == "1"
    assert not await surprises([*table("-", neighbour, "10.10.0.2", 80), *table("X", a, "10.10.0.2", 80)])
    await driver.release(endpoint.record)
    await driver.close()
    assert lab.host.sysctl("net/ipv4/ip_forward") == "0"
    assert not list(lab.run.iterdir())


async def test_foreign_bridges_go_on_bridging_while_the_host_is_kept_from_routing(lab: Lab) -> None:
    if not lab.bridge_netfilter("1"):
        pytest.skip("bridge-nf-call-iptables cannot be set here")
    lab.host.ip("link add foreign type bridge")
    lab.host.ip("link set foreign up")
    machines = []
    for number in (1, 2):
        machine = lab.add(f"M{number}")
        lab.host.ip(f"link add port{number} type veth peer name eth0 netns {machine.name}")
        lab.host.ip(f"link set port{number} master foreign up")
        machine.ip(f"addr add 10.11.0.{number}/24 dev eth0")
        machine.ip("link set eth0 up")
        machines.append(machine)
    lab.servers.add(machines[1], "M", "0.0.0.0", 80)
    driver = BridgeDriver(BridgeOptions(instance="a1b2c3", address="172.30.0.1/24"), lab.run)
    await driver.open([])

    assert "orlop_forward" in lab.ruleset()
    assert not await surprises(table("M", machines[0], "10.11.0.2", 80))
    await driver.close()
