import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.formats.stream import STDERR, STDOUT, FrameError, Parser, frame


@given(st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(min_size=1, max_size=20))), st.integers(1, 9))
def test_frames_come_out_as_they_went_in_however_they_are_cut(frames: list[tuple[int, bytes]], step: int) -> None:
    data = b"".join(frame(*each) for each in frames)
    parser, pieces = Parser(), []
    for start in range(0, len(data), step):
        pieces += parser.feed(data[start : start + step])
    assert parser.between_frames
    for stream in (STDOUT, STDERR):
        expected = b"".join(payload for number, payload in frames if number == stream)
        assert b"".join(piece for number, piece in pieces if number == stream) == expected


def test_an_empty_frame_is_nothing() -> None:
    assert Parser().feed(frame(STDOUT, b"") + frame(STDERR, b"x")) == [(STDERR, b"x")]


@given(st.binary(min_size=8))
def test_anything_else_is_refused_or_read_but_never_more_than_there_is(data: bytes) -> None:
    try:
        pieces = Parser().feed(data)
    except FrameError:
        return
    assert sum(len(piece) for _, piece in pieces) <= len(data)


def test_text_is_no_frame() -> None:
    with pytest.raises(FrameError):
        Parser().feed(b"HTTP/1.1")
