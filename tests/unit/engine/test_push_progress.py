"""What a client is told of the layers of a push."""

from __future__ import annotations

from orlop.engine.images.push_progress import Phase, Progress, Row


def said(progress: Progress) -> list[str]:
    return [f"{message['id']} {message['status']}" for message in progress.news()]


def test_each_step_is_told_once() -> None:
    row = Row("a")
    progress = Progress([row])
    assert said(progress) == ["a Preparing"]
    assert said(progress) == []
    row.phase = Phase.WAITING
    assert said(progress) == ["a Waiting"]
    row.phase, row.total = Phase.PUSHING, 100
    assert said(progress) == []
    row.current = 40
    (message,) = progress.news()
    assert message["progressDetail"] == {"current": 40, "total": 100}
    assert message["progress"].startswith("[====================>")
    row.phase, row.current = Phase.PUSHED, 100
    assert said(progress) == ["a Pushing", "a Pushed"]
    assert said(progress) == []


def test_what_happened_between_two_looks_is_not_left_out() -> None:
    pushed = Row("a", Phase.PUSHED, 100, 100)
    there = Row("b", Phase.PRESENT)
    mounted = Row("c", Phase.MOUNTED, mounted_from="library/x")
    assert said(Progress([pushed, there, mounted])) == [
        *("a Preparing", "a Pushing", "a Pushed"),
        *("b Preparing", "b Layer already exists"),
        *("c Preparing", "c Mounted from library/x"),
    ]
