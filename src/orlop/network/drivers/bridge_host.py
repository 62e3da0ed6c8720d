"""The host's side of a bridge network: the bridge, its table, the host's switches, the links of endpoints.

All of it waits for the kernel, so it is done by one thread (`orlop.network.drivers.bridge` has it), in the order in
which it was asked for.
"""

from __future__ import annotations

import logging
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path

from orlop.errors import Internal, InvalidArgument
from orlop.formats.rtnetlink import Link, add_bridge, delete_link, set_link
from orlop.linux.firewall import forwarding_blockers
from orlop.linux.interfaces import read_sysctl, write_sysctl
from orlop.model.record import EndpointRecord
from orlop.network import links
from orlop.network.apply import Performer, has_ipv6
from orlop.network.forwarding import Forwarding
from orlop.network.ipam import choose_network, derive_mac, unique_local
from orlop.network.links import HostState
from orlop.network.network import BridgeOptions
from orlop.network.rules import BridgeRules, table_name
from orlop.network.table import Table

__all__ = ["BridgeHost"]

log = logging.getLogger(__name__)


class BridgeHost:
    """An open bridge. Making one brings the host to what `options` and the `live` endpoints need; raises OSError
    or `errors.Error`. The attributes do not change afterwards and may be read by any thread."""

    def __init__(self, options: BridgeOptions, live: list[EndpointRecord], run: Path) -> None:
        self._options = options
        self._performer = Performer()
        try:
            self.ipv6 = has_ipv6()  # the host's, not the network's
            self._forwarding = Forwarding(options.instance, self._performer.rules, run)
            state = self._performer.state()
            found = state.link(options.name)
            ours = found is None or links.check_owner(found, options.instance, options.own)
            self.mtu = links.choose_mtu(state, options.mtu)
            self.gateway = _gateway(options, state, live, ours)
            self.gateway6 = _gateway6(options, state, live, ours) if self.ipv6 else None
            if ours:
                state = self._mend_bridge(state)
            self.index = _bridge(state, options.name).index
            self._mend_links(state, live)
            self._table = self._make_table(live)
            self._switch_on()
        except BaseException:
            self._performer.close()
            raise

    def connect(self, plan: links.Plan, record: EndpointRecord) -> None:
        """Make an endpoint's link and publish its ports, or nothing. Raises OSError."""
        self._performer.connect(plan)
        try:
            if plan.announce:
                self._performer.announce(self._options.name, self.index, plan.announce, record.mac)
            self._table.publish(record)
        except OSError:
            self._performer.delete_link(plan.link)
            raise

    def disconnect(self, record: EndpointRecord) -> None:
        """Take an endpoint's ports away; its link is removed by others, later. Raises OSError."""
        self._table.withdraw(record)

    def close(self, idle: bool) -> None:
        """Let go. When the network is `idle`, forwarding is given back."""
        try:
            if idle:
                self._forwarding.leave()
        finally:
            self._performer.close()

    def destroy(self) -> None:
        """Remove the table, and the bridge if it is ours."""
        self._table.delete()
        link = self._performer.state().link(self._options.name)
        if link and link.alias == links.bridge_alias(self._options.instance):
            self._performer.perform([delete_link(link.index, name=link.name)])

    def _mend_bridge(self, state: HostState) -> HostState:
        options = self._options
        mac, alias = derive_mac(str(self.gateway.ip)), links.bridge_alias(options.instance)
        if state.link(options.name) is None:
            self._performer.perform([add_bridge(options.name, mac), set_link(name=options.name, alias=alias)])
            state = self._performer.state()
        if self.ipv6:
            write_sysctl(f"net/ipv6/conf/{options.name}/accept_ra", "0")
            write_sysctl(f"net/ipv6/conf/{options.name}/disable_ipv6", "0" if self.gateway6 else "1")
        addresses = [str(address) for address in (self.gateway, self.gateway6) if address]
        bridge = _bridge(state, options.name)
        self._performer.perform(
            links.mend_bridge(state, bridge, addresses=addresses, mac=mac, mtu=self.mtu, alias=alias)
        )
        return self._performer.state()

    def _mend_links(self, state: HostState, live: list[EndpointRecord]) -> None:
        self._performer.perform(links.remove_strays(state, self._options.instance, live))
        self._performer.perform(links.mend_ports(state, self.index, live, self._options.icc))
        for record in live:
            if state.link(record.host_ifname) is None:
                log.warning("endpoint %s has lost its link %s", record.endpoint_id[:12], record.host_ifname)

    def _make_table(self, live: list[EndpointRecord]) -> Table:
        rules = BridgeRules(
            table=table_name(self._options.instance),
            bridge=self._options.name,
            subnet=str(self.gateway.network),
            subnet6=str(self.gateway6.network) if self.gateway6 else "",
            icc=self._options.icc,
            masquerade=self._options.masquerade,
        )
        table = Table(rules, self._performer.rules)
        table.replace(live)
        return table

    def _switch_on(self) -> None:
        """The host's switches: forwarding, and routing of loopback sources to our bridge (the guard chain stands)."""
        name = self._options.name
        write_sysctl(f"net/ipv4/conf/{name}/route_localnet", "1")
        if self._options.ip_forward:
            self._forwarding.join(name, [4, 6] if self.gateway6 else [4], self._is_alive)
        elif read_sysctl("net/ipv4/ip_forward") == "0":
            log.warning("IPv4 forwarding is disabled. Networking will not work.")
        try:
            blockers = forwarding_blockers(name)
        except OSError as error:
            blockers = [f"the host's firewall could not be read: {error}"]
        for blocker in blockers:
            log.warning("%s", blocker)

    def _is_alive(self, instance: str, bridge: str) -> bool:
        link = self._performer.state().link(bridge)
        return link is not None and link.alias in ("", links.bridge_alias(instance))


def _bridge(state: HostState, name: str) -> Link:
    link = state.link(name)
    if link is None:
        raise Internal(f'bridge "{name}" was removed while it was opened')
    return link


def _gateway(options: BridgeOptions, state: HostState, live: list[EndpointRecord], ours: bool) -> IPv4Interface:
    """The bridge's address: a foreign bridge's own; else where containers live, what was asked, what is, a free one."""
    link = state.link(options.name)
    present = [IPv4Interface(text) for text in state.global_addresses(link.index, 4)] if link else []
    asked = IPv4Interface(_parsed(options.address, 4, "--bip")) if options.address else None
    if not ours:
        if not present:
            raise Internal(f'bridge "{options.name}" has no IPv4 address')
        return present[0]
    if live:
        kept = IPv4Interface(f"{live[0].gateway}/{live[0].prefix}")
        if asked and asked != kept:
            log.warning("--bip %s has to wait: running containers use %s", asked, kept)
        return kept
    if asked or present:
        return asked or present[0]
    network = choose_network(state.networks())
    return IPv4Interface((network[1], network.prefixlen))


def _gateway6(options: BridgeOptions, state: HostState, live: list[EndpointRecord], ours: bool) -> IPv6Interface | None:
    kept = next((record for record in live if record.address6), None)
    if kept:
        return IPv6Interface(f"{kept.gateway6}/{kept.prefix6}")
    if not options.ipv6:
        return None
    link = state.link(options.name)
    if not ours and link and (present := state.global_addresses(link.index, 6)):
        return IPv6Interface(present[0])
    network = unique_local(options.instance)
    if options.fixed_cidr6:
        network = IPv6Interface(_parsed(options.fixed_cidr6, 6, "--fixed-cidr-v6")).network
    return IPv6Interface((network[1], network.prefixlen))


def _parsed(text: str, version: int, flag: str) -> str:
    try:
        if "/" in text and ip_interface(text).version == version:
            return text
    except ValueError:
        pass
    raise InvalidArgument(f"invalid {flag} {text!r}: an IPv{version} address with a prefix length is wanted")
