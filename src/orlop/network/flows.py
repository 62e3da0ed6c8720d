"""Which tracked connections have to be forgotten when a port is published or an address changes hands.

A walk over the kernel's table takes 15 ms even when it is empty (262,144 buckets), so it is not on the path of a start
and as rare as can be. Entries that stay end by themselves once they idle: that they could not be deleted is worth a
line in the log, no more.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping

from orlop.formats.ctnetlink import PROTOCOLS, Flow, Match
from orlop.formats.netlink import NetlinkFormatError
from orlop.linux import conntrack, interfaces
from orlop.linux.netlink import Netlink
from orlop.model.record import EndpointRecord

__all__ = ["forget_addresses", "forget_ports", "has_datagrams"]

log = logging.getLogger(__name__)

ALL_INTERFACES = ("0.0.0.0", "::")


def has_datagrams(record: EndpointRecord) -> bool:
    """Say whether an endpoint publishes ports whose clients do not notice that something has changed."""
    return any(port.protocol == "udp" for port in record.ports)


def forget_ports(record: EndpointRecord) -> None:
    """Forget flows to this host's newly published UDP ports that the new translation does not reach."""
    with _logged("tracked flows to new ports stay"):
        with Netlink() as netlink:
            here = {str(address.interface.ip) for address in interfaces.addresses(netlink)}
        for version in (4, 6):
            wanted: dict[int, set[str]] = {}
            for port in record.ports:
                if port.protocol == "udp" and (":" in port.host_ip) == (version == 6):
                    hosts = here if port.host_ip in ALL_INTERFACES else {port.host_ip}
                    wanted[port.host_port] = wanted.get(port.host_port, set()) | hosts
            if wanted:
                only = next(iter(wanted)) if len(wanted) == 1 else 0  # the kernel tells one port, or none
                conntrack.forget(Match(version, protocol=PROTOCOLS["udp"], port=only), _past(record, wanted))


def forget_addresses(addresses: Collection[str]) -> None:
    """Forget flows from and to addresses of containers that are gone: their next owners must not inherit them."""
    with _logged("tracked flows of released addresses stay"):
        for version in (4, 6):
            gone = {address for address in addresses if (":" in address) == (version == 6)}
            if gone:
                conntrack.forget(Match(version), _of(gone))


def _past(record: EndpointRecord, wanted: Mapping[int, Collection[str]]) -> Callable[[Flow], bool]:
    """Tell flows to a port at one of its `wanted` addresses, or on loopback, that do not end at the endpoint."""
    return lambda flow: (
        (flow.destination in wanted.get(flow.port, ()) or (flow.port in wanted and flow.destination.startswith("127.")))
        and flow.answering not in (record.address, record.address6)
    )


def _of(addresses: Collection[str]) -> Callable[[Flow], bool]:
    return lambda flow: flow.source in addresses or flow.answering in addresses


@contextlib.contextmanager
def _logged(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, NetlinkFormatError) as error:
        log.warning("%s: %s", what, error)
