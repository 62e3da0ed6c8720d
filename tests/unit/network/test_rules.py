"""The nftables text that a bridge and its ports become."""

from __future__ import annotations

from orlop.model.record import EndpointRecord, PublishedPort
from orlop.network.rules import BridgeRules, forward_guard, publish, withdraw


def endpoint(*ports: tuple[str, int, int, str], address6: str = "") -> EndpointRecord:
    return EndpointRecord(
        network="bridge",
        network_id="",
        endpoint_id="e" * 64,
        address="172.17.0.2",
        address6=address6,
        ports=tuple(PublishedPort(host_ip=h, host_port=p, container_port=c, protocol=t) for h, p, c, t in ports),
    )


def test_a_port_is_one_element_of_the_map_of_its_kind() -> None:
    record = endpoint(
        ("0.0.0.0", 8080, 80, "tcp"),
        ("::", 8080, 80, "tcp"),
        ("127.0.0.1", 53, 5353, "udp"),
        ("127.0.0.1", 54, 5354, "udp"),
        ("fd09::1", 9, 9, "sctp"),
        address6="fd30::2",
    )
    assert publish("orlop_a1b2c3", record).splitlines() == [
        "add element inet orlop_a1b2c3 chosen4 "
        "{ 127.0.0.1 . udp . 53 : 172.17.0.2 . 5353, 127.0.0.1 . udp . 54 : 172.17.0.2 . 5354 }",
        "add element inet orlop_a1b2c3 any4 { tcp . 8080 : 172.17.0.2 . 80 }",
        "add element inet orlop_a1b2c3 chosen6 { fd09::1 . sctp . 9 : fd30::2 . 9 }",
        "add element inet orlop_a1b2c3 any6 { tcp . 8080 : fd30::2 . 80 }",
    ]
    assert withdraw("orlop_a1b2c3", record).splitlines() == [
        "delete element inet orlop_a1b2c3 chosen4 { 127.0.0.1 . udp . 53, 127.0.0.1 . udp . 54 }",
        "delete element inet orlop_a1b2c3 any4 { tcp . 8080 }",
        "delete element inet orlop_a1b2c3 chosen6 { fd09::1 . sctp . 9 }",
        "delete element inet orlop_a1b2c3 any6 { tcp . 8080 }",
    ]


def test_what_the_kernel_cannot_translate_is_left_to_the_listener() -> None:
    assert publish("t", endpoint(("::", 8080, 80, "tcp"))) == ""  # no IPv6 inside
    assert publish("t", endpoint(("::1", 8080, 80, "tcp"), address6="fd30::2")) == ""
    assert withdraw("t", endpoint()) == ""


def test_the_whole_table_is_replaced_in_one_transaction() -> None:
    text = BridgeRules("orlop_a1b2c3", "orlop0", "172.17.0.0/16").text([endpoint(("0.0.0.0", 8080, 80, "tcp"))])
    assert text.startswith("table inet orlop_a1b2c3\ndelete table inet orlop_a1b2c3\ntable inet orlop_a1b2c3 {\n")
    assert "elements = { tcp . 8080 : 172.17.0.2 . 80 }" in text
    assert "ip6 daddr fd" not in text


def test_without_masquerade_answers_to_containers_are_not_dropped_before_they_are_known() -> None:
    text = BridgeRules("t", "orlop0", "172.17.0.0/16", masquerade=False).text()
    assert "fib daddr type != local drop" not in text
    assert 'oifname != "orlop0" masquerade' not in text
    assert "ct state established,related accept" in text


def test_the_guard_stops_only_the_ip_versions_that_orlop_switched_on() -> None:
    text = forward_guard(["orlop1", "orlop0"], [4])
    assert 'elements = { "orlop0", "orlop1" }' in text
    assert "meta nfproto ipv4 drop" in text
    assert "ipv6" not in text
