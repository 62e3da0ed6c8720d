"""Progress bars: what a line says, and that they are redrawn in place on any terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.cli import progress
from orlop.cli.bars import Part, clock_time
from orlop.cli.board import Board
from orlop.cli.output import display_width
from orlop.cli.progress import show_batches
from orlop.errors import Error
from support.screen import Screen

MB = 1_000_000


def message(identifier: str, status: str, current: int = 0, total: int = 0, **more: Any) -> dict[str, Any]:
    detail = {key: value for key, value in (("current", current), ("total", total)) if value}
    return {"id": identifier, "status": status, "progressDetail": {**detail, **more}}


def part(*points: tuple[float, int], total: int = 100 * MB) -> Part:
    made = Part("0123456789ab")
    for moment, current in points:
        made.update(message("0123456789ab", "Downloading", current, total), moment)
    return made


def test_a_line_has_bar_numbers_speed_and_time_left() -> None:
    line = part((0, 0), (1, 10 * MB), (2, 20 * MB)).line(120, 2)
    assert line == ("0123456789ab: Downloading [==========>" + " " * 40 + "]     20MB/100MB        10MB/s     8s")


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (100, "0123456789ab: Downloading [======>" + " " * 28 + "]     20MB/100MB        10MB/s     8s"),
        (64, "0123456789ab: Downloading     20MB/100MB        10MB/s     8s"),
        (50, "0123456789ab: Downloading     20MB/100MB"),
        (30, "0123456789ab: Downloading   …"),
        (2, "…"),
    ],
)
def test_a_narrow_terminal_loses_the_bar_first(width: int, expected: str) -> None:
    assert part((0, 0), (1, 10 * MB), (2, 20 * MB)).line(width, 2) == expected


def test_the_speed_is_of_the_last_seconds_and_of_what_is_done_now() -> None:
    made = part((0, 0), (1, 50 * MB), (10, 50 * MB), (12, 52 * MB))
    assert made.speed(12) == pytest.approx(MB)
    assert made.speed(14) == pytest.approx(MB / 2)  # a stall is seen
    made.update(message("0123456789ab", "Extracting", 1, 100 * MB), 13)
    assert made.speed(13) == 0
    assert "/s" not in made.line(120, 13)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (message("a", "Extracting", 5, 0), "a: Extracting        5B"),
        (message("a", "Extracting", 3, 10, units="layers"), "a: Extracting  [===>        ] 3/10 layers"),
        (message("a", "Extracting", 3, 0, units="s"), "a: Extracting  3 s"),
        (message("a", "Extracting", 20, 10), "a: Extracting  [==============>]      20B"),
        (message("a", "Pull complete"), "a: Pull complete"),
        (message("", "Importing", 5), "Importing         5B"),
    ],
)
def test_numbers_are_dockers(told: dict[str, Any], expected: str) -> None:
    made = Part(told["id"])
    made.update(told, 0)
    assert made.line(60, 0) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.2, "0s"), (59.6, "1m0s"), (3700, "1h1m"), (90_000, "1d1h"), (1e9, "∞")],
)
def test_times_have_two_units(seconds: float, expected: str) -> None:
    assert clock_time(seconds) == expected


@given(
    st.integers(1, 250),
    st.lists(st.tuples(st.floats(0, 100), st.integers(-5, 1 << 70)), min_size=1, max_size=5),
    st.integers(0, 1 << 70),
    st.text(max_size=30),
)
def test_no_line_is_as_wide_as_the_terminal(
    width: int, points: list[tuple[float, int]], total: int, status: str
) -> None:
    made = Part("0123456789ab")
    for moment, current in sorted(points):
        made.update(message("", status, current, total), moment)
        assert made.line(width, moment).isprintable()
        assert display_width(made.line(width, moment)) <= max(1, width - 1)


class Lab:
    """A board on a made-up terminal."""

    def __init__(self, rows: int = 10, columns: int = 80) -> None:
        self.screen = Screen(rows, columns)
        self.board = Board(self.screen, lambda: (self.screen.rows, self.screen.columns), lambda: 0.0)  # type: ignore[arg-type]

    def tell(self, *messages: dict[str, Any]) -> None:
        for told in messages:
            self.board.update(told)
        self.board.draw()


def test_parts_keep_their_lines() -> None:
    lab = Lab()
    lab.screen.write("before\n")
    lab.tell(message("a", "Waiting"), message("b", "Waiting"))
    lab.tell(message("c", "Waiting"), message("a", "Pull complete"))
    assert lab.screen.lines == ["before", "a: Pull complete", "b: Waiting", "c: Waiting"]
    lab.board.finish()
    lab.screen.write("after\n")
    assert lab.screen.lines == ["before", "a: Pull complete", "b: Waiting", "c: Waiting", "after"]


def test_what_did_not_change_is_not_written_again() -> None:
    lab = Lab()
    lab.tell(message("a", "Waiting"), message("b", "Waiting"))
    written: list[str] = []
    lab.screen.write = written.append  # type: ignore[method-assign,assignment]
    lab.tell(message("b", "Pull complete"))
    assert "a: " not in written[0]


def test_more_parts_than_rows_are_counted_and_shown_in_the_end() -> None:
    lab = Lab(rows=5)
    names = [f"part{number:02}" for number in range(20)]
    lab.tell(*(message(name, "Waiting") for name in names))
    assert lab.screen.lines == ["part00: Waiting", "part01: Waiting", "part02: Waiting", "... and 17 more: 17 waiting"]
    lab.tell(*(message(name, "Pull complete") for name in names[:10]), message("part15", "Extracting", 5, 10))
    assert [line.partition(" ")[0] for line in lab.screen.lines] == ["part10:", "part11:", "part15:", "..."]
    assert lab.screen.lines[-1] == "... and 17 more: 7 waiting, 10 complete"
    assert lab.screen.scrolled == []
    lab.tell(*(message(name, "Pull complete") for name in names))
    lab.board.finish()
    lab.screen.write("Digest: x\n")
    assert lab.screen.everything == [*(f"{name}: Pull complete" for name in names), "Digest: x"]


@pytest.mark.parametrize(("rows", "columns"), [(10, 30), (10, 20), (3, 80), (2, 12), (40, 200)])
def test_a_new_size_leaves_one_block(rows: int, columns: int) -> None:
    lab = Lab(rows=10, columns=80)
    names = ("first", "second", "third")
    lab.tell(*(message(name, "Downloading", 5 * MB, 10 * MB) for name in names))
    lab.screen.resize(rows, columns)
    lab.tell(message("first", "Pull complete"), message("second", "Pull complete"))
    lab.tell(*(message(name, "Pull complete") for name in names))
    lab.board.finish()
    shown = [line for line in lab.screen.everything if "complete" in line or "…" in line]
    assert [line.partition(":")[0] for line in shown][-3:] == list(names)
    assert sum("Downloading" in line for line in lab.screen.lines) == 0


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from("abcdefgh"), st.sampled_from(["Waiting", "Downloading", "Done"]), st.integers(0, 9)
            ),
            st.tuples(st.integers(1, 12), st.integers(2, 90)),
        ),
        max_size=40,
    )
)
def test_nothing_ever_breaks_a_line_and_the_end_tells_of_all(steps: list[tuple[Any, ...]]) -> None:
    lab = Lab(rows=6)
    last: dict[str, str] = {}
    for step in steps:
        if len(step) == 2:
            lab.screen.resize(*step)
        else:
            lab.tell(message(step[0], step[1], step[2], 9 if step[2] else 0))
            last[step[0]] = step[1]
    lab.screen.resize(100, 90)
    lab.board.finish()
    ended = lab.screen.everything[-len(last) :] if last else []
    assert [line[:1] for line in ended] == list(last)
    assert all(status[:8] in line for status, line in zip(last.values(), ended, strict=True))


def test_a_terminal_without_a_size_is_taken_for_a_usual_one() -> None:
    stream = io.StringIO()
    board = Board(stream, lambda: (0, 0), lambda: 0.0)
    board.update(message("a", "Downloading", 5, 10))
    board.draw()
    assert "a: Downloading" in stream.getvalue()


def test_a_log_has_a_line_for_each_change_only(capsys: pytest.CaptureFixture[str]) -> None:
    show_batches(
        [
            [{"status": "Pulling from library/x", "id": "latest"}, message("a", "Pulling fs layer")],
            [message("a", "Downloading", 5, 10), message("a", "Pull complete")],
            [{"stream": "Loaded image: x\n"}, {"aux": {"ID": "x"}}, {"status": "From", "from": "y"}],
        ],
        1,
    )
    assert capsys.readouterr().out == (
        "latest: Pulling from library/x\na: Pulling fs layer\na: Pull complete\nLoaded image: x\n(from y) From\n"
    )


@pytest.mark.parametrize("failed", [{"errorDetail": {"message": "no room"}, "error": "no room"}, {"error": "no room"}])
@pytest.mark.parametrize("quiet", [False, True])
def test_an_error_ends_it(failed: dict[str, Any], quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Error, match="no room"):
        show_batches([[message("a", "Waiting")], [failed], [message("a", "Pull complete")]], 2, quiet=quiet)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ("" if quiet else "a: Waiting\n")


def test_on_a_terminal_a_line_of_its_own_ends_the_block(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "is_terminal", lambda descriptor: True)
    monkeypatch.setattr(progress, "terminal_size", lambda descriptor: (24, 80))
    show_batches(
        [[message("a", "Waiting")], [message("a", "Pushed")], [{"status": "tag: digest"}], [message("a", "Waiting")]], 1
    )
    screen = Screen(24, 80)
    screen.write(capsys.readouterr().out)
    assert screen.lines == ["a: Pushed", "tag: digest", "a: Waiting"]
