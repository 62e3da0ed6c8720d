"""Addresses: choosing a network that nobody uses, and handing out its addresses.

Allocation is sequential: the next free address after the last one given, from the start again at the end. A freed
address is therefore the last to be used again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
)

from orlop.errors import Internal

__all__ = ["Pool", "PoolExhausted", "choose_network", "default_pools", "derive_mac", "unique_local"]

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
IPInterface = IPv4Interface | IPv6Interface


class PoolExhausted(Internal):
    """Every address of the network is taken."""


def default_pools() -> Iterator[IPv4Network]:
    """The networks that Docker takes its bridges from, in its order."""
    for second in range(17, 32):
        yield IPv4Network(f"172.{second}.0.0/16")
    for third in range(0, 256, 16):
        yield IPv4Network(f"192.168.{third}.0/20")


def choose_network(used: Iterable[IPNetwork]) -> IPv4Network:
    """Return the first default pool that overlaps none of `used`, the host's addresses and routes."""
    taken = [network for network in used if isinstance(network, IPv4Network) and network.prefixlen]
    for pool in default_pools():
        if not any(pool.overlaps(network) for network in taken):
            return pool
    raise Internal("all predefined address pools have been fully subnetted")


def unique_local(instance: str) -> IPv6Network:
    """Return a ULA /64 (RFC 4193) that is an instance's own."""
    digest = hashlib.sha256(b"orlop bridge " + instance.encode()).digest()
    return IPv6Network((b"\xfd" + digest[:7] + bytes(8), 64))


def derive_mac(address: str) -> str:
    """Return the MAC of an IPv4 address: neighbours that remember an address need not learn its next owner's."""
    return "02:42:" + ip_address(address).packed[-4:].hex(":")


class Pool:
    """The addresses of one network, less its gateway's.

    >>> pool = Pool(ip_interface("172.17.0.1/16"))
    >>> pool.allocate(), pool.allocate()
    ('172.17.0.2', '172.17.0.3')
    """

    def __init__(self, gateway: IPInterface, owner: str = "") -> None:
        self._network: IPNetwork = gateway.network
        self._owner = owner
        first, last = int(self._network[0]), int(self._network[-1])
        if self._network.num_addresses > 2:
            first += 1  # the network's own address; in IPv6 it is every router's
            last -= self._network.version == 4  # broadcast
        self._first, self._size = first, last - first + 1
        self._last_given = int(gateway.ip)
        self._used = {int(gateway.ip)}

    @property
    def network(self) -> IPNetwork:
        """The subnet that addresses are given from."""
        return self._network

    def allocate(self) -> str:
        """Return a free address. Raises `PoolExhausted`."""
        start = self._last_given - self._first + 1
        for step in range(min(self._size, len(self._used) + 1)):
            candidate = self._first + (start + step) % self._size
            if candidate not in self._used:
                self._used.add(candidate)
                self._last_given = candidate
                return str(self._address(candidate))
        raise PoolExhausted(
            f"no available IPv{self._network.version} addresses on this network's address pools: {self._owner}"
        )

    def reserve(self, address: str) -> bool:
        """Take a certain address; return False when it is taken already, or none of this network's."""
        number = self._number(address)
        if number is None or number in self._used:
            return False
        self._used.add(number)
        return True

    def release(self, address: str) -> None:
        """Give an address back."""
        number = self._number(address)
        if number is not None:
            self._used.discard(number)

    def _number(self, address: str) -> int | None:
        parsed = ip_address(address)
        number = int(parsed)
        inside = parsed.version == self._network.version and self._first <= number < self._first + self._size
        return number if inside else None

    def _address(self, number: int) -> IPAddress:
        return IPv4Address(number) if self._network.version == 4 else IPv6Address(number)
