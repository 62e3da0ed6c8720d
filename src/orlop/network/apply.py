"""The performer: carries plans out on the kernel. One thread owns it, because what it does may wait for the kernel.

Its sockets stay open: a start pays for its own requests only.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from orlop.formats.ctnetlink import PROTOCOLS, Flow, Match
from orlop.formats.netlink import NetlinkFormatError, Request
from orlop.formats.rtnetlink import delete_link
from orlop.linux import conntrack, interfaces
from orlop.linux.netlink import Netlink, NetlinkError
from orlop.linux.nftables import Nftables
from orlop.model.record import EndpointRecord
from orlop.network.links import HostState, Plan

__all__ = ["Performer", "has_ipv6"]

log = logging.getLogger(__name__)

GONE = (errno.ENODEV, errno.ENOENT)
ALL_INTERFACES = ("0.0.0.0", "::")


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
        self._netlink.close()
        self._nftables.close()

    def state(self) -> HostState:
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

    def forget_ports(self, record: EndpointRecord) -> None:
        """Forget tracked flows to this host's published UDP ports: they would go on past the new translation."""
        ports = [port for port in record.ports if port.protocol == "udp"]
        if not ports:
            return
        with _logged("tracked flows to new ports stay"):
            here = {str(address.interface.ip) for address in interfaces.addresses(self._netlink)}
            for port in ports:
                wanted = here if port.host_ip in ALL_INTERFACES else {port.host_ip}
                match = Match(6 if ":" in port.host_ip else 4, protocol=PROTOCOLS["udp"], port=port.host_port)
                conntrack.forget(match, _destined_to(wanted))

    def forget_addresses(self, record: EndpointRecord) -> None:
        """Forget tracked flows from and to an endpoint's addresses: the next owner must not inherit them."""
        with _logged("tracked flows of a released address stay"):
            for address in filter(None, (record.address, record.address6)):
                version = 6 if ":" in address else 4
                conntrack.forget(Match(version, source=address))
                conntrack.forget(Match(version, answering=address))


def has_ipv6() -> bool:
    """Say whether the kernel has IPv6 turned on."""
    return Path("/proc/sys/net/ipv6").exists()


def _destined_to(addresses: set[str]) -> Callable[[Flow], bool]:
    return lambda flow: flow.destination in addresses or flow.destination.startswith("127.")


@contextlib.contextmanager
def _logged(what: str) -> Iterator[None]:
    """Entries that stay end by themselves when they idle: that they could not be deleted is worth a line, no more."""
    try:
        yield
    except (OSError, NetlinkFormatError) as error:
        log.warning("%s: %s", what, error)
