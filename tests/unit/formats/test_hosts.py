"""A container's /etc/hosts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.formats.hosts import HostEntry, generate, parse_extra_host


def test_the_file_is_dockers() -> None:
    text = generate(
        hostname="web", domainname="example.org", addresses=["172.17.0.2"], extra=[HostEntry("10.0.0.9", ("db", "sql"))]
    )
    assert text == (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::\tip6-localnet\n"
        "ff00::\tip6-mcastprefix\n"
        "ff02::1\tip6-allnodes\n"
        "ff02::2\tip6-allrouters\n"
        "10.0.0.9\tdb sql\n"
        "172.17.0.2\tweb.example.org web\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("db:10.0.0.9", ("db", "10.0.0.9")),
        ("db:fd00::1", ("db", "fd00::1")),
        ("db:[fd00::1]", ("db", "fd00::1")),
        ("me:host-gateway", ("me", "host-gateway")),
    ],
)
def test_extra_hosts_are_split_at_the_first_colon(text: str, expected: tuple[str, str]) -> None:
    assert parse_extra_host(text) == expected


def test_wrong_extra_hosts_are_refused_in_dockers_words() -> None:
    with pytest.raises(ValueError, match=r'^bad format for add-host: "db"$'):
        parse_extra_host("db")
    with pytest.raises(ValueError, match=r'^invalid IP address in add-host: "10.0.0.999"$'):
        parse_extra_host("db:10.0.0.999")


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_no_field_can_add_a_line_or_an_address(hostname: str, domainname: str, name: str) -> None:
    try:
        text = generate(
            hostname=hostname, domainname=domainname, addresses=["172.17.0.2"], extra=[HostEntry("10.0.0.9", (name,))]
        )
    except ValueError:
        return
    lines = text.splitlines()
    assert len(lines) == 8
    assert lines[6].split() == ["10.0.0.9", name]
    assert lines[7].split()[0] == "172.17.0.2"


@pytest.mark.parametrize("name", ["a\nb", "a b", "a\0", "a\t", "", "a#b", "a\u2028b", "a\x85b"])
def test_names_that_are_no_word_are_refused(name: str) -> None:
    with pytest.raises(ValueError):
        generate(hostname=name, addresses=["172.17.0.2"])
    with pytest.raises(ValueError):
        parse_extra_host(f"{name}:10.0.0.1")
