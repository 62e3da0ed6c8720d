"""Finding other people's rules that drop forwarded packets."""

from __future__ import annotations

from typing import Any

from orlop.linux.firewall import find_blockers


def chain(table: str, name: str, family: str = "inet", policy: str = "accept", hook: str = "forward") -> dict[str, Any]:
    return {"chain": {"family": family, "table": table, "name": name, "hook": hook, "policy": policy}}


def rule(table: str, name: str, *expressions: dict[str, Any], family: str = "inet") -> dict[str, Any]:
    return {"rule": {"family": family, "table": table, "chain": name, "expr": list(expressions)}}


def on(side: str, device: str = "orlop0") -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"meta": {"key": side}}, "right": device}}


ACCEPT: dict[str, Any] = {"accept": None}


def test_a_policy_of_drop_blocks_and_the_advice_is_the_tools_own() -> None:
    (plain,) = find_blockers([chain("site", "forward", policy="drop")], [], "orlop0")
    assert plain.endswith(
        ": nft insert rule inet site forward iifname orlop0 accept"
        " && nft insert rule inet site forward oifname orlop0 accept"
    )
    iptables = chain("filter", "FORWARD", "ip", "drop")
    (advice,) = find_blockers([iptables], [], "orlop0")
    assert advice.endswith(": iptables -I FORWARD -i orlop0 -j ACCEPT && iptables -I FORWARD -o orlop0 -j ACCEPT")
    ufw = chain("filter", "ufw-user-forward", "ip", hook="")
    (advice,) = find_blockers([iptables, ufw], [], "orlop0")
    assert "ufw route allow in on orlop0" in advice


def test_a_last_rule_that_drops_everything_blocks() -> None:
    last = rule("firewalld", "filter_FORWARD", {"counter": None}, {"reject": {"type": "icmpx"}})
    (advice,) = find_blockers([chain("firewalld", "filter_FORWARD"), last], [], "orlop0")
    assert "firewall-cmd --permanent --zone=trusted --add-interface=orlop0" in advice
    one_port = rule("site", "forward", on("iifname", "eth9"), {"drop": None})
    assert find_blockers([chain("site", "forward"), one_port], [], "orlop0") == []


def test_a_chain_that_lets_the_bridge_through_both_ways_does_not_block() -> None:
    objects = [chain("site", "forward", policy="drop"), rule("site", "forward", on("iifname"), ACCEPT)]
    assert len(find_blockers(objects, [], "orlop0")) == 1
    objects.append(rule("site", "forward", on("oifname"), ACCEPT))
    assert find_blockers(objects, [], "orlop0") == []


def test_our_own_chains_and_other_hooks_are_none_of_it() -> None:
    objects = [
        chain("orlop_forward", "forward", policy="drop"),
        chain("orlop_d4e5f6", "forward", policy="drop"),
        chain("site", "input", policy="drop", hook="input"),
    ]
    assert find_blockers(objects, [], "orlop0") == []


def test_the_legacy_filter_is_named() -> None:
    (advice,) = find_blockers([], [6], "orlop0")
    assert "ip6tables-legacy -I FORWARD" in advice
