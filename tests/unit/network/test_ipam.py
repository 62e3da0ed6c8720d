"""Choosing networks and handing out addresses."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import Internal
from orlop.network.ipam import Pool, PoolExhausted, choose_network, derive_mac, unique_local


def test_the_first_pool_that_overlaps_nothing_of_the_host_is_chosen() -> None:
    assert str(choose_network([])) == "172.17.0.0/16"
    used = [ip_network("172.17.9.0/24"), ip_network("172.18.0.0/15"), ip_network("0.0.0.0/0"), ip_network("fd00::/8")]
    assert str(choose_network(used)) == "172.20.0.0/16"
    assert str(choose_network([ip_network("172.16.0.0/12")])) == "192.168.0.0/20"
    with pytest.raises(Internal):
        choose_network([ip_network("172.16.0.0/12"), ip_network("192.168.0.0/16")])


def test_a_freed_address_is_used_again_only_after_all_others() -> None:
    pool = Pool(ip_interface("10.0.0.1/29"))
    given = [pool.allocate() for _ in range(5)]
    assert given == [f"10.0.0.{number}" for number in range(2, 7)]
    with pytest.raises(PoolExhausted):
        pool.allocate()
    pool.release("10.0.0.4")
    pool.release("10.0.0.3")
    assert pool.allocate() == "10.0.0.3"
    assert pool.allocate() == "10.0.0.4"


def test_the_gateway_and_foreign_addresses_cannot_be_reserved() -> None:
    pool = Pool(ip_interface("10.0.0.1/29"))
    refused = ("10.0.0.1", "10.0.0.0", "10.0.0.7", "10.0.0.8", "fd00::2")
    assert not any(pool.reserve(address) for address in refused)
    assert pool.reserve("10.0.0.5")
    assert not pool.reserve("10.0.0.5")


def test_a_gateway_in_the_middle_of_its_network_is_stepped_over() -> None:
    pool = Pool(ip_interface("10.0.0.4/29"))
    assert [pool.allocate() for _ in range(5)] == [f"10.0.0.{number}" for number in (5, 6, 1, 2, 3)]


def test_ipv6_networks_hand_out_addresses_too() -> None:
    pool = Pool(ip_interface("fd00::1/64"))
    assert [pool.allocate(), pool.allocate()] == ["fd00::2", "fd00::3"]


@given(st.lists(st.booleans(), max_size=60))
def test_no_address_is_given_twice(steps: list[bool]) -> None:
    pool, held = Pool(ip_interface("10.0.0.1/28")), []
    for take in steps:
        if take and len(held) < 13:
            address = pool.allocate()
            assert address not in held
            held.append(address)
        elif held:
            pool.release(held.pop(0))


def test_names_derived_from_an_instance_or_an_address_are_its_own() -> None:
    assert derive_mac("172.17.0.2") == "02:42:ac:11:00:02"
    assert unique_local("a1b2c3").prefixlen == 64
    assert unique_local("a1b2c3").is_private
    assert unique_local("a1b2c3") != unique_local("a1b2c4")
