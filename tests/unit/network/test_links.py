"""Plans of links: made from data, seen without a kernel."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

import pytest

from orlop.errors import Internal
from orlop.formats.rtnetlink import Address, Link, Route
from orlop.model.record import EndpointRecord
from orlop.network import links

BRIDGE = Link(3, "orlop0", 1, 1500, "02:42:ac:11:00:01", 0, "bridge", "orlop:a1b2c3")
WANTED = {"addresses": ["172.17.0.1/16"], "mac": BRIDGE.mac, "mtu": 1500, "alias": BRIDGE.alias}


def veth(index: int, name: str, master: int = 3, flags: int = 1) -> Link:
    return Link(index, name, flags, 1500, "", master, "veth", "")


def state(*extra: Link, address: str = "172.17.0.1/16") -> links.HostState:
    return links.HostState(
        (Link(2, "eth0", 1, 1400, "", 0, "", ""), BRIDGE, *extra),
        (Address(3, ip_interface(address), 0),),
        (Route(254, None, "10.0.0.1", 2), Route(254, ip_network("10.0.0.0/8"), "", 2)),
    )


def endpoint(name: str) -> EndpointRecord:
    return EndpointRecord(
        network="bridge",
        network_id="",
        endpoint_id="e" * 64,
        host_ifname=name,
        address="172.17.0.2",
        prefix=16,
        gateway="172.17.0.1",
        mac="02:42:ac:11:00:02",
    )


def asked(requests: list[links.Request]) -> list[str]:
    return [request.what for request in requests]


def test_a_bridge_that_is_as_it_should_be_is_left_alone() -> None:
    assert links.mend_bridge(state(), BRIDGE, **WANTED) == []


def test_a_bridge_is_mended_piece_by_piece() -> None:
    plan = links.mend_bridge(state(address="172.18.0.1/16"), BRIDGE, **WANTED)
    assert asked(plan) == ["delete address 172.18.0.1/16", "add address 172.17.0.1/16"]
    assert asked(links.mend_bridge(state(), BRIDGE, **{**WANTED, "mtu": 1400})) == ["change link orlop0"]


def test_only_an_instances_own_strays_are_removed() -> None:
    there = state(veth(5, "oa1b2c300000001"), veth(6, "oa1b2c300000002"), veth(7, "od4e5f600000003"))
    assert asked(links.remove_strays(there, "a1b2c3", [endpoint("oa1b2c300000001")])) == ["delete link oa1b2c300000002"]


def test_live_links_become_ports_again() -> None:
    there = state(veth(5, "oa1b2c300000001", master=0, flags=0), veth(6, "oa1b2c300000002"))
    plan = links.mend_ports(there, 3, [endpoint("oa1b2c300000001"), endpoint("oa1b2c300000002")], icc=True)
    assert asked(plan) == [
        "change link oa1b2c300000001",
        "change bridge port oa1b2c300000001",
        "change link oa1b2c300000001",
    ]


def test_the_mtu_follows_a_smaller_uplink_unless_chosen() -> None:
    assert links.choose_mtu(state(), 0) == 1400
    assert links.choose_mtu(state(), 9000) == 9000


def test_a_bridge_is_ours_the_administrators_or_refused() -> None:
    foreign = Link(3, "orlop0", 1, 1500, "", 0, "bridge", "")
    assert links.check_owner(BRIDGE, "a1b2c3", own=True)
    assert not links.check_owner(foreign, "a1b2c3", own=False)
    for link, own in ((foreign, True), (BRIDGE, True), (BRIDGE, False), (veth(9, "orlop0"), False)):
        with pytest.raises(Internal, match="--bridge"):
            links.check_owner(link, "d4e5f6", own)


def test_the_host_end_is_quiet_before_it_is_up_and_its_name_fits() -> None:
    name = links.host_end("a1b2c3", "0123456789")
    plan = links.connect(endpoint(name), netns=9, bridge=3, mtu=1500, icc=True, host_ipv6=True)
    assert len(name) == 15
    assert asked(list(plan.create)) == [f"add veth {name}"]
    assert plan.sysctls == ((f"net/ipv6/conf/{name}/disable_ipv6", "1"),)
    assert asked(list(plan.bring_up)) == [f"change bridge port {name}", f"change link {name}"]


def test_inside_there_is_no_ipv6_without_an_ipv6_address() -> None:
    assert links.interface_config(endpoint("x"), host_ipv6=True) == {
        "interfaces": [
            {
                "name": "eth0",
                "addresses": ["172.17.0.2/16"],
                "routes": [{"dst": "default", "gateway": "172.17.0.1"}],
            }
        ],
        "sysctls": {"net/ipv6/conf/eth0/disable_ipv6": "1", "net/ipv6/conf/eth0/accept_ra": "0"},
    }
    assert links.interface_config(endpoint("x"), host_ipv6=False)["sysctls"] == {}
