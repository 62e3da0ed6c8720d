"""Netlink frames and attributes: what is written is read back, and no bytes from a socket do harm."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.formats import ctnetlink, rtnetlink
from orlop.formats.netlink import (
    NLMSG_DONE,
    NLMSG_ERROR,
    NetlinkFormatError,
    NetlinkMessage,
    Request,
    attribute,
    decode,
    encode,
    nested,
    outcome,
    parse_attributes,
)

kinds = st.integers(1, 0x3FFF)


@given(st.dictionaries(kinds, st.binary(max_size=300)))
def test_attributes_are_read_as_written(attributes: dict[int, bytes]) -> None:
    data = b"".join(attribute(kind, value) for kind, value in attributes.items())
    assert parse_attributes(data) == attributes


@given(kinds, st.dictionaries(kinds, st.binary(max_size=50)))
def test_nested_attributes_are_read_as_written(kind: int, inner: dict[int, bytes]) -> None:
    data = nested(kind, [attribute(k, v) for k, v in inner.items()])
    assert parse_attributes(parse_attributes(data)[kind]) == inner


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=60))), st.integers(0, 2**32 - 1))
def test_messages_of_one_datagram_are_read_as_written(sent: list[tuple[int, bytes]], sequence: int) -> None:
    data = b"".join(encode(Request(kind, 0, payload), sequence) for kind, payload in sent)
    read = decode(data)
    assert [(m.type, m.payload, m.sequence) for m in read] == [(kind, payload, sequence) for kind, payload in sent]


@given(st.binary(max_size=400))
def test_hostile_bytes_raise_the_one_error_or_nothing(data: bytes) -> None:
    readers = (rtnetlink.parse_link, rtnetlink.parse_address, rtnetlink.parse_route, ctnetlink.parse_flow, outcome)
    for kind in (NLMSG_ERROR, NLMSG_DONE, 16):
        for reader in readers:
            try:
                decode(data)
                parse_attributes(data)
                reader(NetlinkMessage(kind, 0x300, 1, 0, data))
            except NetlinkFormatError:
                continue


@given(st.binary(max_size=120), st.sampled_from([2, 10]))
def test_hostile_addresses_and_tuples_raise_the_one_error_or_nothing(data: bytes, family: int) -> None:
    for head, reader in (
        (struct.pack("=BBBBI", family, 24, 0, 0, 1), rtnetlink.parse_address),
        (struct.pack("=BBBBBBBBI", family, 24, 0, 0, 254, 3, 0, 1, 0), rtnetlink.parse_route),
        (struct.pack(">BBH", family, 0, 0), ctnetlink.parse_flow),
    ):
        for kind in range(1, 5):
            try:
                reader(NetlinkMessage(16, 0, 1, 0, head + attribute(kind, data) + data))
            except NetlinkFormatError:
                continue


def test_an_acknowledgement_gives_the_reason_and_the_kernels_words() -> None:
    header = struct.pack("=IHHII", 40, 16, 5, 7, 0)
    words = attribute(1, b"Device is in use\0")
    capped = NetlinkMessage(NLMSG_ERROR, 0x300, 7, 0, struct.pack("=i", -16) + header + words)
    assert outcome(capped) == (16, "Device is in use")
    assert outcome(NetlinkMessage(NLMSG_ERROR, 0, 7, 0, struct.pack("=i", 0) + header)) == (0, "")


def test_what_does_not_fit_is_refused() -> None:
    for wrong in ("", "0123456789abcdef", "eth0/../x" * 3):
        with pytest.raises(NetlinkFormatError):
            rtnetlink.add_bridge(wrong)
    for mac in ("02:42", "02:42:ac:11:00:zz", "0242ac110002", "02:42:ac:11:00:002"):
        with pytest.raises(NetlinkFormatError):
            rtnetlink.mac_bytes(mac)
    with pytest.raises(NetlinkFormatError):
        attribute(1, bytes(1 << 16))
    with pytest.raises(NetlinkFormatError):
        rtnetlink.add_route(1, "default")


def test_a_flow_is_recognised_by_what_was_asked() -> None:
    flow = ctnetlink.Flow(4, "10.9.0.2", "10.9.0.1", 17, 8080, "172.17.0.2", b"")
    assert ctnetlink.Match(4, protocol=17, port=8080).holds(flow)
    assert ctnetlink.Match(4, answering="172.17.0.2").holds(flow)
    assert not ctnetlink.Match(4, source="172.17.0.2").holds(flow)
    assert not ctnetlink.Match(6, protocol=17, port=8080).holds(flow)
