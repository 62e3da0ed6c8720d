"""What instances remember together of the host's forwarding switches."""

from __future__ import annotations

import pytest

from orlop.network.forwarding import Record

WRITTEN = '{"boot_id": "b", "previous": {"net/ipv4/ip_forward": "0"}, "instances": {"a1b2c3": "orlop0"}}'


def test_a_record_of_this_boot_is_believed() -> None:
    record = Record.parse(WRITTEN, "b")
    assert record.instances == {"a1b2c3": "orlop0"}
    assert record.versions == [4]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"boot_id": "b"}', '{"boot_id":"b","previous":1,"instances":{}}']
)
def test_what_is_malformed_is_no_record(text: str) -> None:
    assert Record.parse(text, "b") == Record("b")


def test_a_record_of_another_boot_is_history() -> None:
    assert Record.parse(WRITTEN, "c") == Record("c")
