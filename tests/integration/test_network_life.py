"""An endpoint's life and the network's: allocation, release, adoption by the next daemon, instances side by side."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

from orlop.errors import Conflict, Error
from orlop.formats.ctnetlink import Match
from orlop.linux import conntrack
from orlop.linux.firewall import forwarding_blockers
from orlop.network.drivers.bridge import BridgeDriver
from orlop.network.network import BridgeOptions, Endpoint, EndpointRequest, PortRequest
from support.network_lab import PATIENCE, REFUSAL, Lab, Namespace, why_not

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(why_not()), reason=why_not() or "ready")]

HTTP = (PortRequest(80, "tcp", "", (8080, 8080)),)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


def bridge(lab: Lab, instance: str = "a1b2c3", name: str = "orlop0", address: str = "172.30.0.1/24") -> BridgeDriver:
    return BridgeDriver(BridgeOptions(instance=instance, name=name, address=address), lab.run)


def request(number: int, ports: tuple[PortRequest, ...] = ()) -> EndpointRequest:
    return EndpointRequest("c" * 64, f"{number:08x}" + "0" * 56, ports=ports)


async def attach(
    lab: Lab, driver: BridgeDriver, number: int, ports: tuple[PortRequest, ...] = ()
) -> tuple[Namespace, Endpoint]:
    namespace = lab.add(f"C{number}")
    endpoint = await driver.allocate(request(number, ports))
    namespace.configure(await driver.connect(endpoint, namespace.fd))
    lab.servers.add(namespace, f"C{number}", "0.0.0.0", 80)
    return namespace, endpoint


async def ask(source: Namespace, address: str, port: int, patience: float = PATIENCE) -> str:
    return await asyncio.to_thread(source.ask, address, port, "tcp", patience)


def interfaces(lab: Lab) -> set[str]:
    return {line.split(":")[1].split("@")[0].strip() for line in lab.host.ip("-o link").splitlines()}


async def test_the_kernel_has_what_the_plans_say(lab: Lab) -> None:
    driver = bridge(lab)
    await driver.open([])
    namespace, endpoint = await attach(lab, driver, 1)
    record = endpoint.record

    def look(name: str) -> Any:
        with IPRoute() as route:
            return next(iter(route.get_links(ifname=name)))

    link = await asyncio.to_thread(look, "orlop0")
    port = await asyncio.to_thread(look, record.host_ifname)
    assert link.get_attr("IFLA_IFALIAS") == "orlop:a1b2c3"
    assert link.get_attr("IFLA_ADDRESS") == "02:42:ac:1e:00:01"
    assert port.get_attr("IFLA_MASTER") == link["index"]
    slave = port.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_SLAVE_DATA")
    assert slave.get_attr("IFLA_BRPORT_MODE") == 1
    assert not port.get_attr("IFLA_AF_SPEC").get_attr("AF_INET6").get_attr("IFLA_INET6_CONF")["forwarding"]
    assert lab.host.sysctl(f"net/ipv6/conf/{record.host_ifname}/disable_ipv6") == "1"
    inside = namespace.ip("-o addr show dev eth0")
    assert "172.30.0.2/24 brd 172.30.0.255" in inside
    assert "inet6" not in inside
    assert "02:42:ac:1e:00:02" in namespace.ip("link show dev eth0")
    assert namespace.ip("route").startswith("default via 172.30.0.1 dev eth0")
    await driver.close()


async def test_what_was_released_leaves_nothing_behind(lab: Lab) -> None:
    before = (interfaces(lab), lab.ruleset(), lab.host.sysctl("net/ipv4/ip_forward"))
    driver = bridge(lab)
    await driver.open([])
    opened = lab.ruleset()
    for number in range(1, 4):
        namespace, endpoint = await attach(lab, driver, number, HTTP)
        assert await ask(lab.host, "127.0.0.1", 8080) == f"C{number}"
        assert endpoint.record.address == f"172.30.0.{number + 1}"  # freed ones are the last to be used again
        await driver.release(endpoint.record)
        await driver.release(endpoint.record)  # a second time is no error
        with socket.create_server(("0.0.0.0", 8080)):
            pass  # the port is free at once
    unconnected = await driver.allocate(request(9, HTTP))
    await driver.release(unconnected.record)
    await driver.close()

    assert lab.ruleset() == opened.replace(opened[opened.index("table inet orlop_forward") :], "")
    assert not [name for name in interfaces(lab) if name.startswith("oa1b2c3")]
    assert conntrack.forget(Match(4, answering="172.30.0.2")) == 0
    driver = bridge(lab)
    await driver.open([])
    await driver.destroy()
    await driver.close()
    assert (interfaces(lab), lab.ruleset(), lab.host.sysctl("net/ipv4/ip_forward")) == before
    assert not list(lab.run.iterdir())
    assert namespace.ip("-o link").count("\n") == 1  # loopback alone


async def test_a_link_goes_with_its_namespace_and_is_removed_without_it_too(lab: Lab) -> None:
    driver = bridge(lab)
    await driver.open([])
    _, kept = await attach(lab, driver, 1)
    _, released = await attach(lab, driver, 2)
    await driver.release(released.record)
    for _ in range(100):
        if released.record.host_ifname not in interfaces(lab):
            break
        await asyncio.sleep(0.1)

    assert released.record.host_ifname not in interfaces(lab)
    assert kept.record.host_ifname in interfaces(lab)
    await driver.close()


async def test_the_next_daemon_finds_its_containers_connected_and_mends_the_rest(lab: Lab) -> None:
    first = bridge(lab)
    await first.open([])
    _, endpoint = await attach(lab, first, 1, HTTP)
    _, lost = await attach(lab, first, 2)
    await first.close()
    lab.host.run("nft", "flush", "ruleset")
    lab.host.ip("addr flush dev orlop0")
    lab.host.ip(f"link set {endpoint.record.host_ifname} nomaster down")
    lab.host.ip("link set orlop0 down mtu 1280")

    second = bridge(lab, address="")
    await second.open([endpoint.record])
    assert second.gateway() == "172.30.0.1"
    assert await ask(lab.host, "127.0.0.1", 8080) == "C1"
    assert lost.record.host_ifname not in interfaces(lab)
    assert (await second.allocate(request(3))).record.address == "172.30.0.3"
    with pytest.raises(Error, match=r"^Bind for 0\.0\.0\.0:8080 failed: port is already allocated$"):
        await second.allocate(request(4, HTTP))
    await second.release(endpoint.record)
    await second.close()
    assert await ask(lab.host, "127.0.0.1", 8080, REFUSAL) == "-"


async def test_the_next_daemon_serves_the_sockets_that_a_shim_holds(lab: Lab) -> None:
    first = bridge(lab)
    await first.open([])
    _, endpoint = await attach(lab, first, 1, HTTP)
    held = [sock.fileno() for sock in endpoint.sockets]
    shim = await asyncio.create_subprocess_exec("sleep", "60", pass_fds=held)
    try:
        await first.close()
        waiting = asyncio.create_task(ask(lab.host, "::1", 8080))
        second = bridge(lab)
        await second.open([endpoint.record])
        await second.adopt(endpoint.record, shim.pid)
        assert await waiting == "C1"
        await second.close()
    finally:
        shim.kill()
        await shim.wait()


async def test_a_chosen_mac_is_reachable_at_an_address_that_was_known_elsewhere(lab: Lab) -> None:
    driver = bridge(lab, address="172.30.0.1/29")
    await driver.open([])
    asker, _ = await attach(lab, driver, 1)
    for number, mac in enumerate(["", "02:aa:00:00:00:01", "02:aa:00:00:00:02", ""], 2):
        namespace = lab.add(f"M{number}")
        chosen = EndpointRequest("c" * 64, f"{number:08x}" + "0" * 56, mac=mac, address="172.30.0.5")
        endpoint = await driver.allocate(chosen)
        namespace.configure(await driver.connect(endpoint, namespace.fd))
        lab.servers.add(namespace, f"M{number}", "0.0.0.0", 80)
        for _ in range(100):
            if "state forwarding" in lab.host.ip(f"-d link show dev {endpoint.record.host_ifname}"):
                break
        for source in (lab.host, asker):
            assert await ask(source, "172.30.0.5", 80, 0.8) == f"M{number}"  # before ARP asks a second time
        await driver.release(endpoint.record)
        namespace.ip("link del eth0")
    await driver.close()


async def test_two_instances_do_not_touch_each_other(lab: Lab) -> None:
    lab.host.sysctl("net/ipv4/ip_forward", "0")
    one, two = bridge(lab), bridge(lab, "d4e5f6", "orlop1", "")
    await one.open([])
    await two.open([])
    assert two.gateway() == "172.17.0.1"
    a, first = await attach(lab, one, 1, HTTP)
    b, second = await attach(lab, two, 1, (PortRequest(80, "tcp", "", (8081, 8081)),))
    with pytest.raises(Error, match="address already in use"):
        await two.allocate(request(2, HTTP))
    assert await ask(b, "172.30.0.1", 8080) == "C1"
    assert await ask(b, first.record.address, 80, REFUSAL) == "-"
    assert await ask(a, second.record.address, 80, REFUSAL) == "-"
    rules = lab.host.run("nft", "list", "table", "inet", "orlop_d4e5f6")

    await one.release(first.record)
    await one.destroy()
    await one.close()
    assert lab.host.run("nft", "list", "table", "inet", "orlop_d4e5f6") == rules
    assert lab.host.sysctl("net/ipv4/ip_forward") == "1"
    assert await ask(lab.host, "127.0.0.1", 8081) == "C1"
    await two.release(second.record)
    await two.destroy()
    await two.close()
    assert lab.host.sysctl("net/ipv4/ip_forward") == "0"
    assert lab.ruleset() == ""


async def test_an_instance_that_died_does_not_keep_forwarding_on(lab: Lab) -> None:
    lab.host.sysctl("net/ipv4/ip_forward", "0")
    dead = bridge(lab, "d4e5f6", "orlop1", "172.31.0.1/24")
    await dead.open([])
    lab.host.ip("link del orlop1")
    one = bridge(lab)
    await one.open([])
    await one.close()

    assert lab.host.sysctl("net/ipv4/ip_forward") == "0"
    await dead.close()


async def test_forwarding_that_was_on_before_stays_on_and_is_not_guarded(lab: Lab) -> None:
    lab.host.sysctl("net/ipv4/ip_forward", "1")
    driver = bridge(lab)
    await driver.open([])
    assert "orlop_forward" not in lab.ruleset()
    await driver.close()
    assert lab.host.sysctl("net/ipv4/ip_forward") == "1"


async def test_ipv6_forwarding_does_not_cost_the_host_its_router_advertisements(lab: Lab) -> None:
    lab.neighbour()
    switches = ("net/ipv6/conf/all/forwarding", "net/ipv6/conf/wire/accept_ra")
    lab.host.sysctl(switches[1], "1")
    driver = BridgeDriver(BridgeOptions(instance="a1b2c3", ipv6=True), lab.run)
    await driver.open([])
    _, endpoint = await attach(lab, driver, 1)

    assert endpoint.record.address6.startswith("fd")
    assert [lab.host.sysctl(name) for name in switches] == ["1", "2"]
    await driver.release(endpoint.record)
    await driver.close()
    assert [lab.host.sysctl(name) for name in switches] == ["0", "1"]


async def test_forwarding_is_left_alone_when_told_so(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.host.sysctl("net/ipv4/ip_forward", "0")
    driver = BridgeDriver(BridgeOptions(instance="a1b2c3", ip_forward=False), lab.run)
    await driver.open([])

    assert lab.host.sysctl("net/ipv4/ip_forward") == "0"
    assert "IPv4 forwarding is disabled. Networking will not work." in caplog.messages
    await driver.close()


async def test_a_bridge_of_another_instance_is_refused_with_a_way_out(lab: Lab) -> None:
    one = bridge(lab)
    await one.open([])
    with pytest.raises(Error, match=r"belongs to another Orlop instance \(a1b2c3\).*--bridge"):
        await bridge(lab, "d4e5f6").open([])
    await one.close()


async def test_the_administrators_bridge_is_used_as_it_is_and_never_removed(lab: Lab) -> None:
    lab.host.ip("link add lan type bridge")
    lab.host.ip("addr add 192.168.77.1/24 dev lan")
    lab.host.ip("link set lan up")
    with pytest.raises(Error, match="was not made by Orlop"):
        await bridge(lab, name="lan").open([])
    driver = BridgeDriver(BridgeOptions(instance="a1b2c3", name="lan", own=False), lab.run)
    await driver.open([])
    _, endpoint = await attach(lab, driver, 1)
    assert endpoint.record.address == "192.168.77.2"
    with pytest.raises(Conflict):
        await driver.destroy()
    await driver.release(endpoint.record)
    await driver.destroy()
    await driver.close()
    assert "lan" in interfaces(lab)


async def test_a_free_network_is_chosen_beside_the_hosts_routes(lab: Lab) -> None:
    lab.host.ip("link add uplink type veth peer name other")
    lab.host.ip("addr add 172.17.3.1/24 dev uplink")
    lab.host.ip("link set uplink mtu 1400 up")
    lab.host.ip("link set other up")
    lab.host.ip("route add 172.18.0.0/15 dev uplink")
    lab.host.ip("route add default via 172.17.3.2")
    driver = bridge(lab, address="")
    await driver.open([])
    namespace, _ = await attach(lab, driver, 1)

    assert driver.gateway() == "172.20.0.1"
    assert "mtu 1400" in namespace.ip("link show dev eth0")
    await driver.close()


async def test_a_failed_connect_leaves_no_link_and_no_rule(lab: Lab) -> None:
    driver = bridge(lab)
    await driver.open([])
    rules = lab.host.run("nft", "list", "table", "inet", "orlop_a1b2c3")
    endpoint = await driver.allocate(request(1, HTTP))
    with socket.socket() as no_namespace:
        with pytest.raises(Error, match="failed to connect the container to its network: add veth"):
            await driver.connect(endpoint, no_namespace.fileno())
    await driver.release(endpoint.record)
    await driver.close()

    assert lab.host.run("nft", "list", "table", "inet", "orlop_a1b2c3") == rules
    assert endpoint.record.host_ifname not in interfaces(lab)


async def test_a_connect_that_is_cancelled_is_undone_by_its_release(lab: Lab) -> None:
    driver = bridge(lab)
    await driver.open([])
    rules = lab.host.run("nft", "list", "table", "inet", "orlop_a1b2c3")
    namespace = lab.add("C")
    for number in range(1, 6):
        endpoint = await driver.allocate(request(number, HTTP))
        work = asyncio.create_task(driver.connect(endpoint, namespace.fd))
        await asyncio.sleep(0)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await driver.release(endpoint.record)
    await driver.close()

    assert lab.host.run("nft", "list", "table", "inet", "orlop_a1b2c3") == rules
    assert not [name for name in interfaces(lab) if name.startswith("oa1b2c3")]


async def test_rules_that_drop_forwarding_are_found_and_the_advice_helps(lab: Lab) -> None:
    lab.host.run("nft", "table ip site {\n chain routed {\n type filter hook forward priority 0; policy drop;\n }\n }")
    driver = bridge(lab)
    await driver.open([])
    (blocker,) = forwarding_blockers("orlop0")
    assert "chain ip site routed" in blocker
    lab.host.run("sh", "-c", blocker.rpartition(": ")[2])
    assert forwarding_blockers("orlop0") == []
    await driver.close()
