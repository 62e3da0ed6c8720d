"""The journal's records: what is whole counts, and nothing else is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.formats import journal

Records = list[tuple[int, int, bytes]]
some_records = st.lists(
    st.tuples(st.sampled_from([journal.STDOUT, journal.STDERR]), st.integers(0, 2**63 - 1), st.binary(max_size=40))
)


def pack(records: Records) -> bytes:
    return b"".join(journal.pack_header(stream, time, len(data)) + data for stream, time, data in records)


@given(some_records, st.binary(max_size=15))
def test_spans_and_records_find_every_whole_record_and_leave_the_torn_end(records: Records, torn: bytes) -> None:
    data = pack(records) + torn
    spans, consumed = journal.spans(data)
    assert [(stream, time, data[start:end]) for stream, time, start, end in spans] == records
    assert consumed == len(data) - len(torn)
    assert [(r.stream, r.time, bytes(r.payload)) for r in journal.records(memoryview(data))] == records


@given(some_records, st.data())
def test_frames_are_dockers_stream_frames_of_the_whole_records(records: Records, data: st.DataObject) -> None:
    packed = pack(records)
    cut = data.draw(st.integers(0, len(packed)))
    frames, consumed = journal.frames(packed[:cut])
    whole = len(journal.spans(packed[:cut])[0])
    expected = b"".join(bytes([s, 0, 0, 0]) + len(p).to_bytes(4, "big") + p for s, _, p in records[:whole])
    assert b"".join(frames) == expected
    assert consumed == len(pack(records[:whole]))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_surprise(data: bytes) -> None:
    _spans, consumed = journal.spans(data)
    assert journal.frames(data)[1] == consumed <= len(data)
    try:
        size = journal.record_size(data[consumed:])
    except journal.DamagedJournal:
        return
    assert size == 0 or size > len(data) - consumed


def test_a_record_of_no_stream_or_of_absurd_length_is_damage() -> None:
    good = pack([(journal.STDOUT, 1, b"x")])
    for bad in (bytes(16), b"\3" + good[1:16], b"\1\1" + good[2:16], good[:4] + b"\xff" * 12):
        assert journal.spans(good + bad)[1] == len(good)
        with pytest.raises(journal.DamagedJournal):
            journal.record_size(bad)


def test_files_are_numbered_by_their_rotations() -> None:
    assert [journal.file_name(n) for n in range(3)] == ["journal", "journal.1", "journal.2"]
