import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.formats.journal import STDERR, STDOUT, pack_header, records
from orlop.shim.log import Cursor, Journal


def payloads(path: Path) -> list[bytes]:
    return [bytes(record.payload) for record in records(memoryview(path.read_bytes()))]


def drain(cursor: Cursor) -> bytes:
    blocks = b"".join(iter(cursor.read, b""))
    return b"".join(bytes(record.payload) for record in records(memoryview(blocks)))


def test_records_are_appended_and_a_later_writer_goes_on(tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        journal = Journal(str(tmp_path), 1 << 20, 3)
        assert journal.write(STDOUT, text)
        journal.close()
    assert payloads(tmp_path / "journal") == [b"one", b"two"]


@pytest.mark.parametrize("tail", [b"\x01", pack_header(STDOUT, 1, 100) + b"short", b"\xff" * 50])
def test_what_a_crash_left_behind_the_last_record_is_overwritten(tmp_path: Path, tail: bytes) -> None:
    (tmp_path / "journal").write_bytes(pack_header(STDOUT, 1, 3) + b"one" + tail)
    journal = Journal(str(tmp_path), 1 << 20, 3)
    journal.write(STDERR, b"two")
    journal.close()
    assert payloads(tmp_path / "journal") == [b"one", b"two"]


def test_a_mark_that_does_not_fit_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(pack_header(STDOUT, 1, 3) + b"one" + b"\x01")
    (tmp_path / "end").write_text("19")
    Journal(str(tmp_path), 1 << 20, 3).close()
    assert (tmp_path / "journal").stat().st_size == 19


def test_rotation_keeps_the_newest_files(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), 100, 3)
    for number in range(10):
        journal.write(STDOUT, b"%d" % number * 60)
    journal.close()
    assert [payloads(tmp_path / name)[0][:1] for name in ("journal", "journal.1", "journal.2")] == [b"9", b"8", b"7"]
    assert not (tmp_path / "journal.3").exists()


def test_a_single_file_is_begun_anew(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), 100, 1)
    for number in range(3):
        journal.write(STDOUT, b"%d" % number * 60)
    journal.close()
    assert payloads(tmp_path / "journal") == [b"2" * 60]


def test_a_full_disk_drops_records_and_writing_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(str(tmp_path), 1 << 20, 3)
    journal.write(STDOUT, b"one")
    real = os.pwritev

    def full(fd: int, buffers: tuple[bytes, ...], offset: int) -> int:
        real(fd, [b"".join(buffers)[:5]], offset)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwritev", full)
    assert not journal.write(STDOUT, b"lost")
    monkeypatch.setattr(os, "pwritev", real)
    assert journal.write(STDOUT, b"two")
    assert journal.dropped == 4
    journal.close()
    assert payloads(tmp_path / "journal") == [b"one", b"two"]


@pytest.fixture
def two_inodes_left(tmp_path: Path) -> Iterator[Path]:
    """A file system that has room for two files and no more."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=3,size=1m", "tmpfs", tmp_path], check=True)
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


@pytest.mark.parametrize("files", [1, 3])
def test_a_disk_without_room_for_a_new_file_costs_no_history_and_the_log_goes_on(
    two_inodes_left: Path, files: int
) -> None:
    journal = Journal(str(two_inodes_left), 100, files)
    journal.write(STDOUT, b"0" * 60)
    other = two_inodes_left / "other"
    other.touch()
    assert journal.write(STDOUT, b"1" * 60)
    assert not journal.write(STDOUT, b"2" * 60)  # not without end
    assert payloads(two_inodes_left / "journal") == [b"0" * 60, b"1" * 60]
    other.unlink()
    assert journal.write(STDOUT, b"3" * 60)
    assert journal.dropped == 60
    assert payloads(two_inodes_left / "journal") == [b"3" * 60]
    if files > 1:
        assert payloads(two_inodes_left / "journal.1") == [b"0" * 60, b"1" * 60]
    assert not (two_inodes_left / "journal.next").exists()
    journal.close()


def test_a_cursor_reads_over_rotations_what_it_still_has_to(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), 100, 20)
    journal.write(STDOUT, b"before")
    start, end = journal.cursor_at_start(), journal.cursor_at_end()
    for number in range(8):
        journal.write(STDOUT, b"%d" % number * 60)
    expected = b"".join(b"%d" % number * 60 for number in range(8))
    assert drain(start) == b"before" + expected
    assert drain(end) == expected
    journal.write(STDOUT, b"more")
    assert drain(start) == b"more"
    start.close()
    end.close()
    journal.close()


def test_the_writer_knows_when_a_rotation_would_take_away_what_a_cursor_needs(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), 100, 2)
    cursor = journal.cursor_at_end()
    journal.write(STDOUT, b"0" * 60)
    assert not journal.rotates_away(cursor, 60)  # its file is open
    journal.write(STDOUT, b"1" * 60)
    assert not journal.rotates_away(cursor, 60)
    journal.write(STDOUT, b"2" * 60)
    assert journal.rotates_away(cursor, 60)
    cursor.pin()
    assert not journal.rotates_away(cursor, 60)
    journal.write(STDOUT, b"3" * 60)
    assert drain(cursor) == b"".join(b"%d" % number * 60 for number in range(4))
    cursor.close()
    journal.close()


def test_a_pinned_cursor_outlives_the_journal(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), 100, 9)
    cursor = journal.cursor_at_start()
    for number in range(5):
        journal.write(STDOUT, b"%d" % number * 60)
    cursor.pin()
    journal.close()
    for file in tmp_path.iterdir():
        file.unlink()
    assert drain(cursor) == b"".join(b"%d" % number * 60 for number in range(5))
    cursor.close()
