"""Which inputs of a step changed since the last build."""

from __future__ import annotations

from pathlib import Path

from orlop.build import last_builds
from orlop.build.dockerfile.tree import Range
from orlop.build.explain import Since, changes, reason
from orlop.build.graph import Step
from orlop.build.keys import Key
from orlop.build.last_builds import LastBuilds
from orlop.build.progress import Change
from orlop.image.scratch import Scratch
from orlop.model.record import StepTrace
from orlop.store.store import Store


def step(number: int, text: str, stage: str = "main", **fields: bool) -> Step:
    return Step(number, text, text, stage, text.split()[0], Range(number, number), number, **fields)


def trace(text: str, stage: str = "main", key: str = "k", **fields: dict[str, str]) -> StepTrace:
    return StepTrace(stage=stage, instruction=text.split()[0], text=text, key=key, **fields)


def test_a_step_is_found_by_its_text_wherever_it_stands_now() -> None:
    last = [trace("RUN a"), trace("RUN b"), trace("RUN b", key="second")]
    steps = [step(1, "RUN new"), step(2, "RUN b"), step(3, "RUN b"), step(4, "RUN a")]
    since = Since.of(last, steps)
    assert [since.find(each) for each in steps[1:]] == [last[1], last[2], last[0]]


def test_a_step_whose_text_changed_is_found_by_its_place_among_its_kind_and_stage() -> None:
    last = [trace("COPY a b"), trace("RUN one"), trace("RUN other", stage="test")]
    steps = [step(1, "RUN two"), step(2, "ENV a=b", metadata=True), step(3, "COPY c d"), step(4, "RUN more")]
    since = Since.of(last, steps)
    assert [since.find(each) for each in (steps[0], steps[2], steps[3])] == [last[1], last[0], None]


def test_reasons_are_told_apart() -> None:
    key = Key("new", {})
    assert reason(step(1, "RUN a"), key, None) == "first"
    assert reason(step(1, "RUN a"), key, trace("RUN a", key="old")) == "changed"
    assert reason(step(1, "RUN a"), key, trace("RUN a", key="new")) == "pruned"
    assert reason(step(1, "RUN a", no_cache=True), key, None) == "no-cache"


def test_each_input_that_differs_is_told_with_what_it_was() -> None:
    last = {"base:": "1", "argument:A": "1", "user:": "x", "file:context": "d1", "mount:/m": "same"}
    now = {"base:": "2", "argument:B": "1", "file:context": "d2", "mount:/m": "same"}
    files = [("a", "644 1"), ("b", "644 2"), ("d", "644 4")], [("b", "755 2"), ("c", "644 3"), ("d", "644 4")]
    assert changes(last, now, {"context": files[0]}, {"context": files[1]}) == (
        Change(what="argument", name="A", old="1"),
        Change(what="argument", name="B", new="1"),
        Change(what="base", old="1", new="2"),
        Change(what="file", name="a", old="644 1"),
        Change(what="file", name="b", old="644 2", new="755 2"),
        Change(what="file", name="c", new="644 3"),
        Change(what="user", old="x"),
    )


def test_without_the_lists_the_source_is_told() -> None:
    assert changes({"file:context": "1"}, {"file:context": "2"}, {}, {"context": []}) == (
        Change(what="file", name="context", old="1", new="2"),
    )


def test_an_order_that_changed_is_told_when_nothing_else_did() -> None:
    assert changes({"environment:order": "1"}, {"environment:order": "2"}, {}, {}) == (
        Change(what="environment", name="order"),
    )


def test_of_many_changes_a_hundred_are_told_and_the_rest_counted() -> None:
    files = [(f"f{number:06}", "644 1") for number in range(100_000)]
    changed = [(name, "644 2") for name, _ in files]
    told = changes({"file:context": "1"}, {"file:context": "2"}, {"context": files}, {"context": changed})
    assert len(told) == 101
    assert told[-1].name == "and 99900 more"


async def test_last_builds_are_kept_with_their_lists_and_bounded(tmp_path: Path) -> None:
    store, scratch = await Store.open(tmp_path / "db"), Scratch(tmp_path / "tmp")
    kept = LastBuilds(tmp_path / "lists", store, scratch)
    files = [("näme", "644 1"), ("bytes \udcff\nin it", "644 2"), ("", "")]
    try:
        for number in range(last_builds.TARGETS + 5):
            name = f"sha256:{number:064x}"
            steps = (trace("COPY a b", files={"context": name}),)
            await kept.keep(f"target {number}", steps, {name: files})
        assert await kept.last("target 0") is None
        assert kept.files(f"sha256:{0:064x}") is None
        last = await LastBuilds(tmp_path / "lists", store, scratch).last(f"target {last_builds.TARGETS}")
        assert last is not None
        assert kept.files(last.steps[0].files["context"]) == files
        assert len(list((tmp_path / "lists").iterdir())) == last_builds.TARGETS
        (tmp_path / "lists" / f"{last_builds.TARGETS:064x}").write_bytes(b"damaged")
        assert kept.files(last.steps[0].files["context"]) is None
    finally:
        await store.close()
        scratch.close()
