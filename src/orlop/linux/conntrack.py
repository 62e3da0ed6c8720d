"""Forgetting tracked connections, so that new translation rules apply to flows that are already running.

A UDP client keeps its entry alive by sending: without this it would never reach a port published meanwhile, and would
go on reaching a container whose port was taken away.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from orlop.formats.ctnetlink import Flow, Match, delete_flow, list_flows, parse_flow
from orlop.linux.netlink import NETLINK_NETFILTER, Netlink, NetlinkError

__all__ = ["forget"]


def forget(match: Match, also: Callable[[Flow], bool] = lambda flow: True) -> int:
    """Delete the entries that `match` and for which `also` holds; return their number. Raises `NetlinkError`."""
    with Netlink(NETLINK_NETFILTER) as netlink:
        try:
            found = [parse_flow(message) for message in netlink.dump(list_flows(match))]
        except NetlinkError as error:
            if error.errno == errno.ENOENT:  # nothing is tracked: the kernel's module was never needed
                return 0
            raise
        doomed = [flow for flow in found if match.holds(flow) and also(flow)]
        requests = [delete_flow(flow) for flow in doomed]
        for request, number in zip(requests, netlink.attempt(requests), strict=True):
            if number not in (0, errno.ENOENT):
                raise NetlinkError(number, request.what)
        return len(doomed)
