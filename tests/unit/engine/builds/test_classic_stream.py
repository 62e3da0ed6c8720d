"""The classic builder's stream, made of the records of a build."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orlop.build.dockerfile.tree import Range
from orlop.build.failure import BuildFailed
from orlop.build.graph import BaseImage, Exec, Graph, Node, Scratch, Step, Target
from orlop.build.progress import Began, Ended, Finished, Output, Started, Transfer, Warned
from orlop.engine.builds.classic import HELD, ClassicStream
from orlop.errors import Error
from orlop.formats.platform import Platform

BASE = BaseImage(
    ("sha256:" + "1" * 64,), "docker.io/library/busybox:latest", "sha256:" + "b" * 64, Platform("linux", "amd64")
)
IMAGE = "sha256:" + "f" * 64
CONTAINER = "c" * 64


def step(number: int, text: str, node: int, *, stage: str = "0", metadata: bool = False) -> Step:
    name = text.partition(" ")[0]
    return Step(number, text, text, stage, name, Range(number, number), node, metadata)


def run(base: int) -> Exec:
    return Exec(base, ("/bin/sh", "-c", "true"), (), "/")


def plan(stream: ClassicStream, nodes: Sequence[Node], *steps: Step) -> ClassicStream:
    stream.planned(Graph(tuple(nodes), steps, Target(len(nodes) - 1, {}, ())))
    return stream


def began(number: int) -> Began:
    return Began(vertex=f"step-{number}", name="", time=1, step=number)


def ended(number: int, **fields: Any) -> Ended:
    return Ended(vertex=f"step-{number}", time=1, **fields)


def started(number: int) -> Started:
    return Started(vertex=f"step-{number}", time=1, container=CONTAINER)


def output(number: int, data: bytes, stream: int = 1) -> Output:
    return Output(vertex=f"step-{number}", time=1, stream=stream, data=data)


def key(digit: str) -> str:
    return "sha256:" + digit * 64


def text(objects: Sequence[Any]) -> str:
    return "".join(item["stream"] for item in objects if "stream" in item)


def fed(stream: ClassicStream, *records: Any) -> list[Any]:
    return [item for record in records for item in stream.feed(record)]


def two_steps() -> ClassicStream:
    nodes = (BASE, run(0))
    return plan(ClassicStream(), nodes, step(1, "FROM busybox", 0), step(2, "RUN make", 1))


def test_a_build_is_told_step_by_step() -> None:
    stream = two_steps()
    objects = fed(stream, began(1), ended(1, cached=True), began(2), started(2))
    assert [item["stream"] for item in objects] == [
        "Step 1/2 : FROM busybox",
        "\n",
        f" ---> {'b' * 12}\n",
        "Step 2/2 : RUN make",
        "\n",
        f" ---> Running in {CONTAINER[:12]}\n",
    ]
    objects = fed(stream, output(2, b"out\n"), output(2, b"err\n", 2))
    assert [item["stream"] for item in objects] == ["out\n", "\x1b[91merr\n\x1b[0m"]
    objects = fed(stream, ended(2, container=CONTAINER, key=key("a")), Finished(image=IMAGE, names=("a:1", "b:2")))
    assert objects == [
        {"stream": f"Removing intermediate container {CONTAINER[:12]}\n"},
        {"stream": f" ---> {'f' * 12}\n"},
        {"aux": {"ID": IMAGE}},
        {"stream": f"Successfully built {'f' * 12}\n"},
        {"stream": "Successfully tagged a:1\n"},
        {"stream": "Successfully tagged b:2\n"},
    ]


def test_a_cached_step_says_so_and_shows_its_part_of_the_cache() -> None:
    nodes = (BASE, run(0), run(1))
    stream = plan(ClassicStream(), nodes, step(1, "FROM x", 0), step(2, "RUN a", 1), step(3, "RUN b", 2))
    fed(stream, began(1), ended(1, cached=True))
    told = text(fed(stream, ended(2, cached=True, key=key("a"))))
    assert told == f" ---> Using cache\n ---> {'a' * 12}\nStep 3/3 : RUN b\n"


def test_containers_are_removed_as_it_was_asked() -> None:
    nodes = (BASE, run(0))
    steps = step(1, "FROM busybox", 0), step(2, "RUN make", 1)
    kept = plan(ClassicStream(remove=False), nodes, *steps)
    assert "Removing" not in text(fed(kept, ended(1), started(2), ended(2, container=CONTAINER)))
    forced = plan(ClassicStream(remove=False, force_remove=True), nodes, *steps)
    fed(forced, ended(1), started(2))
    assert "Removing" in text(fed(forced, ended(2, container=CONTAINER, error="it failed")))


def test_steps_that_run_beside_others_wait_for_their_turn() -> None:
    nodes = (BASE, run(0), run(0))
    steps = (
        step(1, "FROM x", 0, stage="a"),
        step(2, "RUN a", 1, stage="a"),
        step(3, "FROM x", 0, stage="b"),
        step(4, "RUN b", 2, stage="b"),
    )
    stream = plan(ClassicStream(), nodes, *steps)
    told = text(fed(stream, ended(1), started(4), output(4, b"early\n"), ended(4, key=key("d")), started(2)))
    assert "early" not in told
    told = text(fed(stream, output(2, b"late\n"), ended(2, key=key("a"))))  # nobody tells of a base a second time
    assert told.index("late") < told.index("Step 4/4") < told.index("early")


def test_what_is_held_back_is_bounded() -> None:
    nodes = (BASE, run(0), run(0))
    stream = plan(ClassicStream(), nodes, step(1, "FROM x", 0), step(2, "RUN a", 1), step(3, "RUN b", 2))
    fed(stream, ended(1), *(output(3, b"x" * 65536) for _ in range(100)))
    told = text(fed(stream, ended(2), ended(3)))
    assert len(told) < HELD + 1000
    assert "[output clipped" in told


def test_metadata_is_cached_as_the_next_layer_of_its_stage() -> None:
    nodes = (BASE, run(0))
    steps = step(1, "FROM x", 0), step(2, "ENV a=b", 0, metadata=True), step(3, "RUN a", 1)
    hit, miss = plan(ClassicStream(), nodes, *steps), plan(ClassicStream(), nodes, *steps)
    assert "ENV" not in text(fed(hit, ended(1)))
    assert "Step 2/3 : ENV a=b\n ---> Using cache\n ---> bbbbbbbbbbbb\n" in text(fed(hit, ended(3, cached=True)))
    fed(miss, ended(1))
    assert "Step 2/3 : ENV a=b\n ---> bbbbbbbbbbbb\nStep 3/3" in text(fed(miss, started(3)))


def test_metadata_at_the_end_is_cached_as_the_image() -> None:
    steps = step(1, "FROM x", 0), step(2, "CMD a", 0, metadata=True)
    for present, words in ((True, " ---> Using cache\n"), (False, "")):
        stream = plan(ClassicStream(), (BASE,), *steps)
        fed(stream, ended(1))
        told = text(fed(stream, Finished(image=IMAGE, present=present)))
        assert told.startswith(f"Step 2/2 : CMD a\n{words} ---> {'f' * 12}\nSuccessfully built")


def test_scratch_has_no_id() -> None:
    steps = step(1, "FROM scratch", 0, metadata=True), step(2, "COPY a /", 1)
    stream = plan(ClassicStream(), (Scratch(), run(0)), *steps)
    assert text(fed(stream, began(2))) == "Step 1/2 : FROM scratch\n ---> \nStep 2/2 : COPY a /\n"


def test_a_failure_ends_the_stream_with_the_command_s_code() -> None:
    stream = two_steps()
    fed(stream, ended(1), started(2), output(2, b"no\n"), ended(2, error="x", container=CONTAINER))
    message = "The command '/bin/sh -c exit 9' returned a non-zero code: 9"
    assert stream.failed(BuildFailed(message, None, code=9)) == [
        {"errorDetail": {"code": 9, "message": message}, "error": message}
    ]
    assert stream.failed(Error("no"))[-1] == {"errorDetail": {"message": "no"}, "error": "no"}


def test_a_failing_step_is_shown_although_one_before_it_was_not_done() -> None:
    nodes = (BASE, run(0), run(0))
    steps = step(1, "FROM x", 0), step(2, "RUN slow", 1), step(3, "RUN bad", 2)
    stream = plan(ClassicStream(), nodes, *steps)
    fed(stream, ended(1), began(2), started(2), output(2, b"slow\n"), started(3), output(3, b"bad\n"))
    fed(stream, ended(3, error="x"), ended(2, error="canceled", cancelled=True))
    assert text(stream.failed(Error("x"))) == f"Step 3/3 : RUN bad\n ---> Running in {CONTAINER[:12]}\nbad\n"


def test_what_led_to_a_failing_step_is_shown() -> None:
    nodes = (BASE, run(0), run(0))
    steps = (
        step(1, "FROM x", 0, stage="a"),
        step(2, "RUN slow", 1, stage="a"),
        step(3, "FROM x", 0, stage="b"),
        step(4, "ENV a=b", 0, stage="b", metadata=True),
        step(5, "RUN bad", 2, stage="b"),
    )
    stream = plan(ClassicStream(), nodes, *steps)
    fed(stream, began(2), started(2), started(5), output(5, b"bad\n"), ended(5, error="x"))
    told = text(stream.failed(Error("x")))
    arrow = f" ---> {'b' * 12}\n"
    assert told == (
        f"Step 3/5 : FROM x\n{arrow}Step 4/5 : ENV a=b\n{arrow}"
        f"Step 5/5 : RUN bad\n ---> Running in {CONTAINER[:12]}\nbad\n"
    )


def test_characters_that_are_cut_in_two_come_whole() -> None:
    stream = two_steps()
    fed(stream, ended(1), started(2))
    told = text(fed(stream, output(2, "é".encode()[:1]), output(2, "é".encode()[1:]), output(2, b"\xff")))
    assert told == "é\ufffd"


def test_pulls_are_drawn_as_docker_draws_them() -> None:
    stream = ClassicStream()
    pulled = Transfer(vertex="pull x", id="abc", time=1, current=5, total=10, status="Downloading")
    assert stream.feed(pulled) == [
        {
            "status": "Downloading",
            "progressDetail": {"current": 5, "total": 10},
            "progress": "[=========================>                         ]       5B/10B",
            "id": "abc",
        }
    ]
    status = Transfer(vertex="pull x", id="", time=1, status="Status: Downloaded newer image for x:latest")
    assert stream.feed(status) == [{"status": "Status: Downloaded newer image for x:latest"}]
    waiting = Transfer(vertex="pull x", id="abc", time=1, status="Waiting")
    assert stream.feed(waiting) == [{"status": "Waiting", "progressDetail": {}, "id": "abc"}]


def test_warnings_come_before_the_success() -> None:
    stream = two_steps()
    fed(stream, ended(1), ended(2))
    fed(stream, Warned(message="One or more build-args [X] were not consumed"))
    fed(stream, Warned(message="use =", rule="LegacyKeyValueFormat", line=3))
    told = text(fed(stream, Finished(image=IMAGE)))
    assert "[Warning] One or more build-args [X] were not consumed\n" in told
    assert "\n 1 warning found:\n - LegacyKeyValueFormat: use = (line 3)\n" in told
    assert told.index("warning found") < told.index("Successfully built")
