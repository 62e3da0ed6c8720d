"""The chosen part of a log, against a slow and simple model of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orlop.formats import journal
from orlop.runtime.log_window import FOREVER, LineCounter, Window

Record = tuple[int, int, bytes]
payloads = st.text(alphabet="ab\n", min_size=1, max_size=6).map(str.encode)
logs = st.lists(st.tuples(st.sampled_from([1, 2]), payloads), max_size=12).map(
    lambda pairs: [(stream, 10 * n, data) for n, (stream, data) in enumerate(pairs)]
)


def lines_of(log: list[Record], streams: tuple[int, ...], until: int) -> list[tuple[int, int, list[int]]]:
    """Return (stream, time of its start, positions of its bytes in the whole log) of each line, by start."""
    lines: list[tuple[int, int, list[int]]] = []
    current: dict[int, tuple[int, int, list[int]]] = {}
    position = 0
    for stream, time, data in log:
        for byte in data:
            if stream in streams and time <= until:
                if stream not in current:
                    current[stream] = (stream, time, [])
                    lines.append(current[stream])
                current[stream][2].append(position)
                if byte == 0x0A:
                    del current[stream]
            position += 1
    return lines


@given(logs, st.sampled_from([(1,), (2,), (1, 2)]), st.integers(0, 120), st.integers(-1, 120), st.integers(0, 6))
def test_since_until_streams_and_skipped_lines(
    log: list[Record], streams: tuple[int, ...], since: int, until: int, skip: int
) -> None:
    until = FOREVER if until < 0 else until
    text = b"".join(data for _, _, data in log)
    wanted = [line for line in lines_of(log, streams, until) if line[1] >= since]
    expected = sorted(position for line in wanted[skip:] for position in line[2])
    block = b"".join(journal.pack_header(s, t, len(d)) + d for s, t, d in log)
    window, counter = Window(streams, since, until, skip), LineCounter()
    selected: list[bytes] = []
    for span in journal.spans(block)[0]:  # one at a time: state is carried over blocks
        pieces = window.select(block, [span])
        counter.add(block, pieces)
        selected += [block[start:end] for _, _, start, end in pieces]
    assert b"".join(selected) == bytes(text[position] for position in expected)
    assert counter.lines == len(wanted[skip:])


def test_a_window_that_cannot_leave_anything_out_any_more_is_open() -> None:
    block = journal.pack_header(1, 50, 4) + b"a\nb\n"
    spans = journal.spans(block)[0]
    assert Window((1, 2)).open
    assert not Window((1, 2), until=100).open
    window = Window((1,), since=20, skip=1)
    assert not window.open
    window.select(block, spans)
    assert window.open
