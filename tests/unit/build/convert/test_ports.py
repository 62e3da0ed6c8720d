"""Ports of EXPOSE."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.build.convert.ports import parse
from orlop.errors import InvalidArgument


@pytest.mark.parametrize(
    ("word", "ports"),
    [
        ("80", ["80/tcp"]),
        ("53/udp", ["53/udp"]),
        ("53/UDP", ["53/udp"]),
        ("9000/sctp", ["9000/sctp"]),
        ("80/", ["80/tcp"]),
        ("8000-8002", ["8000/tcp", "8001/tcp", "8002/tcp"]),
        ("8080:80", ["80/tcp"]),
        ("9000-9001:80", ["80/tcp"]),
        ("9000-9001:80-81/udp", ["80/udp", "81/udp"]),
        ("127.0.0.1:8080:80", ["80/tcp"]),
        ("127.0.0.1::80", ["80/tcp"]),
        ("[::1]:8080:80", ["80/tcp"]),
    ],
)
def test_a_port_is_a_number_or_range_with_a_protocol(word: str, ports: list[str]) -> None:
    assert parse([word]) == ports


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("", 'invalid port: "": no port specified'),
        ("/tcp", 'invalid port: "/tcp": no port specified'),
        ("80/icmp", 'invalid port: "80/icmp": invalid proto: icmp'),
        ("http", "invalid containerPort: http"),
        ("65536", "invalid containerPort: 65536"),
        ("9-8", "invalid containerPort: 9-8"),
        ("1-2-3", "invalid containerPort: 1-2-3"),
        ("x:80", "invalid hostPort: x"),
        ("host:1:80", "invalid IP address: host"),
        ("1-3:80-81", "invalid ranges specified for container and host Ports: 80-81 and 1-3"),
    ],
)
def test_what_is_no_port_is_refused_in_dockers_words(word: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse([word])
    assert caught.value.message == message


@given(st.text("0123456789-:/[]tcpud.", max_size=20))
def test_any_word_gives_ports_or_is_refused(word: str) -> None:
    try:
        ports = parse([word])
    except InvalidArgument:
        return
    assert all(0 <= int(port.partition("/")[0]) < 1 << 16 for port in ports)
