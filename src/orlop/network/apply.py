"""The performer: carries plans out on the kernel. One thread owns it, because what it does may wait for the kernel.

Its sockets stay open: a start pays for its own requests only.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from orlop.formats.neighbour import announcement
from orlop.formats.netlink import Request
from orlop.formats.rtnetlink import delete_link, delete_neighbour
from orlop.linux import interfaces
from orlop.linux.netlink import Netlink, NetlinkError
from orlop.linux.nftables import Nftables
from orlop.linux.sockets import send_frames
from orlop.network.links import HostState, Plan

__all__ = ["GONE", "Performer", "has_ipv6"]

GONE = (errno.ENODEV, errno.ENOENT)


class Performer:
    """Open kernel sockets and what is done through them."""

    def __init__(self) -> None:
        self._netlink = Netlink()
        try:
            self._nftables = Nftables()
        except OSError:
            self._netlink.close()
            raise

    def close(self) -> None:
        """Close the sockets to the kernel."""
        self._netlink.close()
        self._nftables.close()

    def state(self) -> HostState:
        """Return what the namespace has of links, addresses and routes."""
        return HostState(
            tuple(interfaces.links(self._netlink)),
            tuple(interfaces.addresses(self._netlink)),
            tuple(interfaces.routes(self._netlink)),
        )

    def perform(self, requests: Sequence[Request]) -> None:
        """Carry out requests in order. Raises `NetlinkError`."""
        if requests:
            self._netlink.perform(requests)

    def rules(self, transaction: str) -> None:
        """Carry out an nftables transaction, if there is one. Raises `NftablesError`."""
        if transaction:
            self._nftables.run(transaction)

    def connect(self, plan: Plan) -> None:
        """Make a link and bring it up: all of it or, when an error is raised, nothing."""
        try:
            self.perform(plan.create)
        except NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise
            self.delete_link(plan.link)  # left by an endpoint of the same id
            self.perform(plan.create)
        try:
            for name, value in plan.sysctls:
                interfaces.write_sysctl(name, value)
            self.perform(plan.bring_up)
        except OSError:
            self.delete_link(plan.link)
            raise

    def delete_link(self, name: str) -> None:
        """Delete a link, unless it is gone: with a container's namespace its end of the pair goes, and this one too."""
        number = self._netlink.attempt([delete_link(name=name)])[0]
        if number and number not in GONE:
            raise NetlinkError(number, f"delete link {name}")

    def announce(self, bridge: str, index: int, addresses: Sequence[str], mac: str) -> None:
        """Tell the host and everybody on a bridge that `addresses` are at `mac` from now on."""
        requests = [delete_neighbour(index, address) for address in addresses]
        for request, number in zip(requests, self._netlink.attempt(requests), strict=True):
            if number and number not in GONE:
                raise NetlinkError(number, request.what)
        send_frames(bridge, [announcement(address, mac) for address in addresses])


def has_ipv6() -> bool:
    """Say whether the kernel has IPv6 turned on."""
    return Path("/proc/sys/net/ipv6").exists()
