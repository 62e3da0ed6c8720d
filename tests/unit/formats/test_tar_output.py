"""Archives as a stream: pieces of a useful size, and well formed whatever the bodies are."""

from __future__ import annotations

import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from orlop.formats.tar.entry import Entry, Kind
from orlop.formats.tar.output import PIECE, TarOutput


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), max_size=6))
def test_a_body_that_is_too_short_or_too_long_still_gives_a_whole_archive(sizes: list[tuple[int, int]]) -> None:
    pieces: list[bytes] = []
    output = TarOutput(pieces.append)
    for number, (said, given_) in enumerate(sizes):
        output.begin(Entry(f"f{number}", Kind.FILE, size=said))
        output.append(b"x" * given_)
        output.end()
    output.finish()
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        bodies = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert bodies == {
        f"f{number}": (b"x" * given_)[:said].ljust(said, b"\0") for number, (said, given_) in enumerate(sizes)
    }


def test_small_entries_make_one_piece_and_large_blocks_go_out_as_they_are() -> None:
    pieces: list[bytes] = []
    output = TarOutput(pieces.append)
    for number in range(100):
        output.add(Entry(f"f{number}", size=10), b"0123456789")
    block = bytes(PIECE)
    output.begin(Entry("big", size=PIECE + 5))
    output.append(block)
    output.append(b"12345")
    output.end()
    output.finish()
    assert [piece is block for piece in pieces] == [False, True, False]
    assert all(len(piece) % 512 == 0 for piece in (pieces[0], b"".join(pieces)))


def test_a_hole_is_written_as_zeros_without_being_held_in_memory() -> None:
    sizes: list[int] = []
    output = TarOutput(lambda piece: sizes.append(len(piece)))
    output.begin(Entry("sparse", size=40 << 20))
    output.skip(1 << 40)
    output.end()
    output.finish()
    assert sum(sizes) == (40 << 20) + 512 + 1024
    assert max(sizes) <= 2 * PIECE
