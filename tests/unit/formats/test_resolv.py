"""A container's /etc/resolv.conf."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.formats.resolv import ResolvConf, generate, parse

HOST = """\
# made by hand
; and edited
nameserver 127.0.0.53
nameserver 10.0.0.2 # the second word counts
nameserver fd00::53
nameserver nonsense
domain old.example
search example.org corp.example
options edns0
options trust-ad
sortlist 130.155.160.0
"""


def test_the_hosts_file_is_read_as_a_resolver_does() -> None:
    assert parse(HOST) == ResolvConf(
        nameservers=("127.0.0.53", "10.0.0.2", "fd00::53"),
        search=("example.org", "corp.example"),
        options=("edns0", "trust-ad"),
        other=("sortlist 130.155.160.0",),
    )


def test_resolvers_that_a_container_cannot_reach_are_left_out() -> None:
    assert generate(parse(HOST)) == (
        "nameserver 10.0.0.2\nsearch example.org corp.example\noptions edns0 trust-ad\nsortlist 130.155.160.0\n"
    )
    assert "nameserver fd00::53\n" in generate(parse(HOST), ipv6=True)
    assert generate(parse(HOST), keep_loopback=True).startswith("nameserver 127.0.0.53\n")


def test_public_resolvers_stand_in_when_none_is_left() -> None:
    assert generate(parse("nameserver ::1\n")) == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    assert "nameserver 2001:4860:4860::8888\n" in generate(parse(""), ipv6=True)


def test_what_was_chosen_takes_the_place_of_the_hosts() -> None:
    text = generate(parse(HOST), nameservers=["127.0.0.1", "9.9.9.9"], search=["a.example"], options=["ndots:2"])
    assert text == (
        "nameserver 127.0.0.1\nnameserver 9.9.9.9\nsearch a.example\noptions ndots:2\nsortlist 130.155.160.0\n"
    )


def test_a_dot_means_no_search_list() -> None:
    assert "search" not in generate(parse(HOST), search=["."])


words = st.lists(st.text(max_size=20), max_size=3)


@given(words, words, words)
def test_no_field_can_add_a_line(nameservers: list[str], search: list[str], options: list[str]) -> None:
    try:
        text = generate(ResolvConf(("10.0.0.2",)), nameservers=nameservers, search=search, options=options)
    except ValueError:
        return
    expected = (len(nameservers) or 1) + bool([domain for domain in search if domain != "."]) + bool(options)
    assert len(text.splitlines()) == expected


@pytest.mark.parametrize("value", ["a\nnameserver 6.6.6.6", "a b", "", "a\0", "a\r"])
def test_values_that_are_no_word_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="bad nameserver address"):
        generate(ResolvConf(), nameservers=[value])
    with pytest.raises(ValueError, match="invalid search domain"):
        generate(ResolvConf(), search=[value])
    with pytest.raises(ValueError, match="invalid resolver option"):
        generate(ResolvConf(), options=[value])
