"""What `orlop build` shows: the live view on a screen, plain lines, and everything that is said at the end."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.cli.build.called import check_text, outline_text, targets_text
from orlop.cli.build.ending import failure_text, warnings_text
from orlop.cli.build.excerpt import excerpt
from orlop.cli.build.explain import explain_text
from orlop.cli.build.output import Lines, Tail, plain_text
from orlop.cli.build.plain import Plain
from orlop.cli.build.vertices import Vertices
from orlop.cli.build.view import View, chosen_lines
from orlop.cli.output import display_width
from support.screen import Screen

SECOND = 1_000_000_000
Json = dict[str, Any]


def began(name: str, at: float = 0, step: int = 0) -> Json:
    return {"kind": "began", "vertex": name, "name": f"RUN {name}", "time": int(at * SECOND), "step": step}


def ended(name: str, at: float, **fields: Any) -> Json:
    return {"kind": "ended", "vertex": name, "time": int(at * SECOND), **fields}


def output(name: str, text: str, at: float = 0, stream: int = 1) -> Json:
    data = base64.b64encode(text.encode()).decode()
    return {"kind": "output", "vertex": name, "time": int(at * SECOND), "stream": stream, "data": data}


def transfer(name: str, id: str, current: int, total: int, **fields: Any) -> Json:
    numbers = {"current": current, "total": total, **fields}
    return {"kind": "transfer", "vertex": name, "id": id, "time": 0, **numbers}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Viewer:
    """A view on a screen; each `tell` is a moment later."""

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        self.screen = Screen(rows, columns)
        self.clock = Clock()
        self.vertices = Vertices()
        stream: Any = self.screen
        self.view = View(self.vertices, stream, lambda: (self.screen.rows, self.screen.columns), self.clock)

    def tell(self, *records: Json) -> list[str]:
        for record in records:
            self.view.show(record, self.vertices.take(record, self.clock()))
        self.clock.now += 0.1
        self.view.settle()
        return self.screen.lines


def plain(*records: Json | float, settle: bool = False) -> str:
    """Return what the plain display writes; a number lets so many seconds pass."""
    stream, vertices, clock = io.StringIO(), Vertices(), Clock()
    display = Plain(stream, clock)
    for record in records:
        if isinstance(record, float):
            clock.now += record
            display.settle()
        else:
            display.show(record, vertices.take(record, clock()))
    display.close()
    return stream.getvalue()


# The view


def test_the_view_shows_what_runs_with_its_time_and_the_end_of_its_output() -> None:
    viewer = Viewer(columns=40)
    viewer.tell(began("a"), began("b"))
    lines = viewer.tell(
        output("a", "".join(f"line {number}\n" for number in range(9)) + "half"),
        transfer("b", "layer", 1_000_000, 2_000_000, status="Downloading"),
    )
    assert lines == [
        "[+] Building 0.2s (0/2)",
        f" => RUN a{' ' * 25} 0.2s",
        *(f" => => # line {number}" for number in range(4, 9)),
        " => => # half",
        f" => RUN b{' ' * 25} 0.2s",
        " => => layer: Downloading 1MB / 2MB",
    ]


def test_the_view_ends_with_every_vertex_and_how_it_ended() -> None:
    viewer = Viewer(rows=5, columns=50)
    for name, fields in (("a", {"cached": True}), ("b", {}), ("c", {"error": "no", "cancelled": True})):
        viewer.tell(began(name), output(name, "noise\n"), ended(name, 1.25, **fields))
    viewer.tell(began("context"), transfer("context", "transferring context:", 5, 5, done=True, files=1))
    viewer.tell(ended("context", 0), began("d"), began("e"), ended("d", 2, error="it broke"))
    viewer.view.close()
    shown = [" ".join(line.split()) for line in viewer.screen.everything if "Building" not in line]
    assert shown[-7:] == [
        "=> CACHED RUN a 1.2s",
        "=> RUN b 1.2s",
        "=> CANCELED RUN c 1.2s",
        "=> RUN context 0.0s",
        "=> => transferring context: 5B (1 file sent)",
        "=> ERROR RUN d 2.0s",
        "=> CANCELED RUN e 0.1s",
    ]


def test_what_runs_stays_visible_on_a_low_terminal() -> None:
    viewer = Viewer(rows=8, columns=40)
    for number in range(20):
        viewer.tell(began(f"old{number}"), ended(f"old{number}", number))
    viewer.tell(*(began(name) for name in "abc"))
    lines = viewer.tell(output("b", "words\n"))
    assert [" ".join(line.split()[:-1]) for line in lines[1:]] == [
        *("=> RUN old18", "=> RUN old19", "=> RUN a", "=> RUN b", "=> => #", "=> RUN c")
    ]
    many = viewer.tell(*(began(f"x{number}") for number in range(10)))
    assert many[-1] == " => ... and 8 more"


def test_a_resized_terminal_is_drawn_anew() -> None:
    viewer = Viewer(rows=24, columns=80)
    viewer.tell(began("a"), output("a", "x" * 200 + "\n"))
    for columns in (30, 100, 20):
        viewer.screen.resize(24, columns)
        lines = viewer.tell()
        assert len(lines) == 3
        assert all(display_width(line) < columns for line in lines)


def test_frames_do_not_come_faster_than_eyes_see() -> None:
    viewer = Viewer()
    viewer.tell(began("a"))
    before = viewer.screen.lines
    viewer.vertices.take(began("b"), 0)
    viewer.clock.now -= 0.09  # the clock was put forward after the last frame
    viewer.view.settle()
    assert viewer.screen.lines == before


_NAMES = st.sampled_from(["a", "b", "c", "d"])
_RECORDS = st.one_of(
    st.builds(began, _NAMES),
    st.builds(ended, _NAMES, st.floats(0, 9), cached=st.booleans(), error=st.sampled_from(["", "no"])),
    st.builds(output, _NAMES, st.text(st.characters(codec="utf-8"), max_size=60)),
    st.builds(transfer, _NAMES, st.text(max_size=9), st.integers(0, 9), st.integers(0, 9), done=st.booleans()),
)


@given(st.lists(st.lists(_RECORDS, max_size=6), max_size=8), st.integers(3, 12), st.integers(20, 50))
def test_the_view_never_leaves_its_lines_whatever_is_told(batches: list[list[Json]], rows: int, columns: int) -> None:
    viewer = Viewer(rows, columns)
    for batch in batches:
        viewer.tell(*batch)
        assert len(viewer.screen.lines) < rows
        assert not viewer.screen.scrolled
    viewer.view.close()


@given(st.integers(1, 30), st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=30))
def test_the_chosen_lines_fit_and_lack_no_vertex_that_runs(most: int, shape: list[tuple[bool, int]]) -> None:
    vertices = Vertices()
    for number, (running, lines) in enumerate(shape):
        name = f"v{number}"
        vertices.take(began(name), 0)
        vertices.take(output(name, "text\n" * lines), 0)
        if not running:
            vertices.take(ended(name, number), 0)
    chosen = chosen_lines(list(vertices.all.values()), most, 80, 0)
    assert len(chosen) <= most
    alive = sum(running for running, _ in shape)
    shown = sum(any(f"RUN v{number} " in line for line in chosen) for number, (run, _) in enumerate(shape) if run)
    assert shown == (alive if alive <= most else most - 1)


# Plain lines


def test_plain_lines_have_the_number_and_the_time_of_their_step() -> None:
    text = plain(
        began("a", 10), output("a", "one\ntw", 10.25), output("a", "o\r\n", 10.5), output("a", "end", 11, 2),
        ended("a", 11.5), began("b", 12), ended("b", 12, cached=True), began("c", 12), ended("c", 12, error="it broke"),
    )  # fmt: skip
    assert text == (
        "#1 RUN a\n#1 0.250 one\n#1 0.500 two\n#1 1.500 end\n#1 DONE 1.5s\n\n"
        "#2 RUN b\n#2 CACHED\n\n#3 RUN c\n#3 ERROR: it broke\n\n"
    )


def test_plain_lines_of_steps_in_parallel_stay_together() -> None:
    text = plain(
        began("a"), began("b"), output("a", "a1\n"), output("b", "b1\n"), output("a", "a2\n"), ended("b", 1),
        ended("a", 1),
    )  # fmt: skip
    assert text == ("#1 RUN a\n#1 0.000 a1\n#1 0.000 a2\n#1 DONE 1.0s\n\n#2 RUN b\n#2 0.000 b1\n#2 DONE 1.0s\n\n")


def test_who_is_silent_is_left_for_others_and_named_again() -> None:
    text = plain(
        began("a"), output("a", "a1\n"), began("b"), output("b", "b1\n"), 1.5, ended("b", 1), output("a", "a2\n")
    )
    assert text == (
        "#1 RUN a\n#1 0.000 a1\n#1 ...\n\n#2 RUN b\n#2 0.000 b1\n#2 DONE 1.0s\n\n#1 RUN a\n#1 0.000 a2\n#1 CANCELED\n\n"
    )


def test_plain_lines_tell_of_transfers_what_a_log_needs() -> None:
    text = plain(
        began("a"),
        transfer("a", "layer", 0, 0, status="Waiting"),
        *(transfer("a", "layer", at, 9, status="Downloading") for at in range(1, 9)),
        transfer("a", "layer", 0, 0, status="Pull complete"),
        transfer("a", "transferring context:", 5, 9),
        transfer("a", "transferring context:", 9, 9, done=True, hashed=2, files=1),
        ended("a", 0),
    )
    assert text == (
        "#1 RUN a\n#1 layer: Waiting\n#1 layer: Pull complete\n"
        "#1 transferring context: 9B (2 files read, 1 file sent) done\n#1 DONE 0.0s\n\n"
    )


@given(st.lists(_RECORDS, max_size=40))
def test_no_line_of_output_is_lost_in_plain_progress(records: list[Json]) -> None:
    vertices = Vertices()
    expected: list[str] = []
    lines: dict[str, Lines] = {}
    alive = [record for index, record in enumerate(records) if not _is_late(records[:index], record)]
    for record in alive:
        known = vertices.take(record, 0)
        if record["kind"] == "output" and known is not None and known.running:
            fed: Iterator[str] = lines.setdefault(known.id, Lines()).feed(base64.b64decode(record["data"]))
            expected += fed
    text = plain(*alive)
    assert all(f" {line}\n" in text for line in expected)


def _is_late(before: list[Json], record: Json) -> bool:
    """Say whether a record comes after its vertex's end, which no daemon tells."""
    return any(other["kind"] == "ended" and other["vertex"] == record["vertex"] for other in before)


# Output of commands


def test_a_line_that_draws_itself_anew_is_one_line() -> None:
    lines = Lines()
    assert list(lines.feed(b"10%\r20%\r")) == []
    assert lines.rest == "20%"
    assert list(lines.feed(b"30%\ndone\r\n\xe2\x82")) == ["30%", "done"]
    assert list(lines.feed(b"\xac\n")) == ["€"]


def test_an_endless_line_is_broken_and_a_tail_is_short() -> None:
    tail = Tail(3)
    for _ in range(1000):
        tail.feed(b"x" * 1000)
    assert sum(map(len, tail.lines(3))) < 100_000
    tail.feed(b"\na\nb\n\033[31mred\033[0m \033]0;title\007end")
    assert tail.lines(2) == ["b", "red end"]
    assert tail.lines(0) == []


@given(st.text())
def test_a_plain_text_moves_no_cursor(text: str) -> None:
    assert plain_text(text).isprintable()


# The end


DOCKERFILE = "FROM busybox\nRUN one\nRUN two\nRUN three\nRUN four\nRUN five\n"


def test_an_excerpt_marks_its_lines_and_shows_some_around() -> None:
    assert excerpt("Dockerfile", DOCKERFILE, 3, 0) == (
        "Dockerfile:3\n--------------------\n   1 |     FROM busybox\n   2 |     RUN one\n   3 | >>> RUN two\n"
        "   4 |     RUN three\n   5 |     RUN four\n--------------------\n"
    )
    assert [line[:11] for line in excerpt("f", DOCKERFILE, 2, 3).splitlines()[2:-1]] == [
        "   1 |     ",
        "   2 | >>> ",
        "   3 | >>> ",
        "   4 |     ",
    ]
    assert ">>> RUN \\" in excerpt("f", None, 7, 8, ["RUN \\", "  x"])
    assert excerpt("f", "\ufeffFROM x", 1, 1).count("FROM x") == 1
    assert excerpt("f", DOCKERFILE, 99, 99) == excerpt("f", None, 3, 3) == excerpt("f", DOCKERFILE, 0, 0) == ""


def test_a_failure_is_told_with_the_output_and_the_place() -> None:
    vertices = Vertices()
    for record in (began("a"), output("a", "cc: no such file\n"), ended("a", 1, error="it broke")):
        vertices.take(record, 0)
    text = failure_text(vertices, {"error": "it broke", "line": 2, "end": 2}, "Dockerfile", DOCKERFILE)
    assert text.startswith("------\n > RUN a:\ncc: no such file\n------\nDockerfile:2\n")
    assert text.endswith("\nERROR: failed to build: it broke\n")
    message = "dockerfile parse error on line 3: unknown instruction: RUNN"
    assert "   3 | >>> RUN two\n" in failure_text(Vertices(), {"error": message}, "Dockerfile", DOCKERFILE)


def test_warnings_are_counted_and_shown_whole_for_who_wants_that() -> None:
    warnings: list[Json] = [{"message": "bad words", "rule": "Words", "line": 2}, {"message": "a thing \033[2J"}]
    assert warnings_text(warnings, "f", DOCKERFILE, whole=False) == (
        "\n 2 warnings found (orlop build --check shows the lines):\n - Words: bad words (line 2)\n - a thing \n"
    )
    assert "   2 | >>> RUN one" in warnings_text(warnings, "f", DOCKERFILE, whole=True)
    assert warnings_text([], "f", None, whole=True) == ""


def test_checks_are_printed_as_docker_prints_them() -> None:
    assert check_text([], "Dockerfile", DOCKERFILE, as_json=False) == "Check complete, no warnings found.\n"
    warning = {"rule": "Words", "message": "bad words", "url": "https://x/words", "line": 1, "description": "Words!"}
    assert check_text([warning], "Dockerfile", DOCKERFILE, as_json=False).startswith(
        "Check complete, 1 warning has been found!\n\nWARNING: Words - https://x/words\nbad words\nDockerfile:1\n-----"
    )
    document = json.loads(check_text([warning], "Dockerfile", DOCKERFILE, as_json=True))
    assert document["warnings"][0]["location"]["ranges"] == [{"start": {"line": 1}, "end": {"line": 1}}]
    assert base64.b64decode(document["sources"][0]["data"]).decode() == DOCKERFILE
    assert json.loads(check_text([], "Dockerfile", None, as_json=True)) == {}


def test_targets_and_outlines_are_tables() -> None:
    targets = {"targets": [{"name": "base", "description": "has it all"}, {"default": True}]}
    assert targets_text(targets, as_json=False) == ("TARGET      DESCRIPTION\nbase        has it all\n(default)\n")
    outline = {
        "name": "app",
        "description": "makes it",
        "args": [{"name": "V", "value": "1", "description": "which"}],
        "secrets": [{"name": "key", "required": True}, {"name": "other"}],
    }
    assert outline_text(outline, as_json=False) == (
        "TARGET:      app\nDESCRIPTION: makes it\n\nBUILD ARG   VALUE     DESCRIPTION\nV           1         which\n\n"
        "SECRET    REQUIRED\nkey       true\nother\n"
    )
    assert json.loads(outline_text(outline, as_json=True)) == outline


def test_an_explanation_tells_each_steps_cost_and_what_has_changed() -> None:
    old, new = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    changes = [
        {"what": "file", "name": "a", "old": f"0644 {old}", "new": f"0644 {new}"},
        {"what": "file", "name": "b", "old": f"0644 {old}", "new": f"0755 {old}"},
        {"what": "file", "name": "c", "new": f"0644 {new}"},
        {"what": "argument", "name": "V", "old": "1"},
        {"what": "environment", "name": "order"},
    ]
    vertices = Vertices()
    for record in (
        began("context"),
        ended("context", 9),
        began("b", step=2),
        began("a", step=1),
        ended("a", 1, cached=True, seconds=2.5, bytes=1500, result=old),
        ended("b", 1, seconds=0.5, bytes=10, result=new, reason="changed", changes=changes),
        began("c", step=3),
        ended("c", 1.5, error="it broke", reason="first"),
        began("d", step=4),
    ):
        vertices.take(record, 0)
    assert explain_text(vertices.all.values()) == (
        "STEP      CACHE      TIME      SIZE\n"
        "RUN a     hit        2.500s    1.5kB\n"
        "RUN b     miss       0.500s    10B\n"
        "    file a: sha256:111111111111 -> sha256:222222222222\n"
        "    file b: 0644 -> 0755\n"
        "    file c: new, 0644 sha256:222222222222\n"
        "    argument V: gone, was 1\n"
        "    environment order\n"
        "RUN c     failed     1.500s\n"
        "    it is new: the last build of this target had no such step\n"
        "RUN d     canceled\n"
        "\n1 of 4 steps came from the cache, which saved 2.500s.\n"
    )


@pytest.mark.parametrize(("reason", "words"), [("pruned", "removed from the cache"), ("no-cache", "not to be used")])
def test_reasons_without_changes_are_told_in_words(reason: str, words: str) -> None:
    vertices = Vertices()
    vertices.take(began("a", step=1), 0)
    vertices.take(ended("a", 1, reason=reason), 0)
    assert words in explain_text(vertices.all.values())
