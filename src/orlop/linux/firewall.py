"""Other people's rules that drop forwarded packets: what they are and what helps.

An ``accept`` of ours is final in our own chain only; a drop in any other chain of the same hook wins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orlop.linux.legacy_tables import forward_policy
from orlop.linux.nftables import Nftables

__all__ = ["find_blockers", "forwarding_blockers"]

OURS = "orlop_"  # how the names of our tables begin
DECORATION = ("counter", "log", "xt")  # what does not decide

Json = dict[str, Any]


def forwarding_blockers(bridge: str = "orlop0") -> list[str]:
    """Return a sentence for each chain that keeps `bridge`'s packets from being forwarded, with the rule that helps.

    Raises OSError when the rules cannot be read.
    """
    with Nftables() as nftables:
        objects = nftables.query({"chains": None})
        for chain in _forward_chains(objects):
            named = {key: chain[key] for key in ("family", "table", "name")}
            objects += [item for item in nftables.query({"chain": named}) if "rule" in item]
    legacy = [version for version in (4, 6) if forward_policy(version) == "drop"]
    return find_blockers(objects, legacy, bridge)


def find_blockers(objects: Iterable[Json], legacy_drops: Iterable[int], bridge: str) -> list[str]:
    """The decision: `objects` are chains, and rules of forward chains, in nftables' JSON form."""
    objects = list(objects)
    found = []
    for chain in _forward_chains(objects):
        rules = [item["rule"] for item in objects if "rule" in item and _belongs(item["rule"], chain)]
        drops = chain.get("policy") == "drop" or (rules and _decision(rules[-1]) == "drop")
        if drops and not all(_accepts(rules, side, bridge) for side in ("iifname", "oifname")):
            where = f"chain {chain['family']} {chain['table']} {chain['name']}"
            found.append(_sentence(where, _help(chain, objects, bridge)))
    for version in legacy_drops:
        tool = "iptables-legacy" if version == 4 else "ip6tables-legacy"
        found.append(_sentence(f"{tool}'s chain FORWARD", _insert(tool, bridge)))
    return found


def _forward_chains(objects: Iterable[Json]) -> list[Json]:
    chains = [item["chain"] for item in objects if "chain" in item]
    return [
        chain
        for chain in chains
        if chain.get("hook") == "forward"
        and chain["family"] in ("ip", "ip6", "inet")
        and not chain["table"].startswith(OURS)
    ]


def _belongs(rule: Json, chain: Json) -> bool:
    return (rule["family"], rule["table"], rule["chain"]) == (chain["family"], chain["table"], chain["name"])


def _decision(rule: Json) -> str:
    """``drop`` or ``accept`` of a rule that holds for every packet, else ""."""
    kinds = [kind for expression in rule.get("expr", ()) for kind in expression if kind not in DECORATION]
    if kinds in (["drop"], ["reject"]):
        return "drop"
    return "accept" if kinds == ["accept"] else ""


def _accepts(rules: Iterable[Json], side: str, bridge: str) -> bool:
    """Say whether a rule accepts everything that comes from (``iifname``) or goes to (``oifname``) the bridge."""
    for rule in rules:
        expressions = rule.get("expr", ())
        matches = [expression["match"] for expression in expressions if "match" in expression]
        if not any("accept" in expression for expression in expressions) or len(matches) != 1:
            continue
        match = matches[0]
        if (match.get("op"), match.get("left"), match.get("right")) == ("==", {"meta": {"key": side}}, bridge):
            return True
    return False


def _sentence(where: str, command: str) -> str:
    return (
        f"the host's firewall drops forwarded packets ({where}): containers do not reach the outside, and published "
        f"ports are reached from this host only. This lets them through: {command}"
    )


def _help(chain: Json, objects: Iterable[Json], bridge: str) -> str:
    names = {item["chain"]["name"] for item in objects if "chain" in item}
    if chain["table"] == "firewalld":
        return f"firewall-cmd --permanent --zone=trusted --add-interface={bridge} && firewall-cmd --reload"
    if (chain["table"], chain["name"]) == ("filter", "FORWARD") and chain["family"] != "inet":
        if "ufw-user-forward" in names or "ufw6-user-forward" in names:
            return f"ufw route allow in on {bridge} && ufw route allow out on {bridge}"
        return _insert("iptables" if chain["family"] == "ip" else "ip6tables", bridge)
    rule = f"nft insert rule {chain['family']} {chain['table']} {chain['name']}"
    return f"{rule} iifname {bridge} accept && {rule} oifname {bridge} accept"


def _insert(tool: str, bridge: str) -> str:
    return f"{tool} -I FORWARD -i {bridge} -j ACCEPT && {tool} -I FORWARD -o {bridge} -j ACCEPT"
