import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.formats.detach import DEFAULT, DetachKeyError, Scanner, parse_keys


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", DEFAULT),
        ("ctrl-p,ctrl-q", DEFAULT),
        ("ctrl-a,d", b"\x01d"),
        ("ctrl-@", b"\0"),
        ("ctrl-\\", b"\x1c"),
        ("~,.", b"~."),
    ],
)
def test_keys_are_named_as_docker_names_them(text: str, keys: bytes) -> None:
    assert parse_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "shift-a", "ctrl-p,", "ctrl-pp", "é", ",,"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(DetachKeyError, match="Unknown character"):
        parse_keys(text)


def test_the_sequence_is_found_over_pieces_and_what_follows_is_dropped() -> None:
    scanner = Scanner(DEFAULT)
    assert scanner.feed(b"a\x10") == (b"a", False)
    assert scanner.feed(b"\x10") == (b"\x10", False)
    assert scanner.feed(b"\x11b") == (b"", True)


def test_a_beginning_that_comes_to_nothing_is_given_back_at_the_end() -> None:
    scanner = Scanner(b"abc")
    assert scanner.feed(b"xab") == (b"x", False)
    assert scanner.flush() == b"ab"


@given(st.lists(st.binary(max_size=5)), st.sampled_from([b"\x10\x11", b"aab", b"x", b""]))
def test_nothing_but_the_sequence_is_lost(pieces: list[bytes], keys: bytes) -> None:
    scanner, passed, detached = Scanner(keys), b"", False
    for piece in pieces:
        out, detached = scanner.feed(piece)
        passed += out
        if detached:
            break
    whole = b"".join(pieces)
    if detached:
        assert whole.startswith(passed + keys)
    else:
        assert not keys or keys not in whole
        assert passed + scanner.flush() == whole
