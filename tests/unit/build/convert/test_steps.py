"""Steps and history: what is shown, what is counted, and that it agrees with the layers."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orlop.build.graph import Graph
from support.converting import graph_of, layers


def names(text: str, **request: Any) -> list[str]:
    return [step.name for step in graph_of(text, **request).steps]


def test_steps_of_a_single_stage_go_without_its_name() -> None:
    text = "FROM a AS only\nENV X=1\nWORKDIR /\nWORKDIR /$X\nRUN echo $X '$X' $Y\nCOPY a \"b$X\" /\ncmd x"
    assert names(text) == [
        "[1/4] FROM docker.io/library/a:latest",
        "ENV X=1",
        "WORKDIR /",
        "[2/4] WORKDIR /1",
        "[3/4] RUN echo 1 '$X' $Y",
        "[4/4] COPY a b1 /",
        "CMD x",
    ]


def test_steps_of_several_stages_have_their_stages_name() -> None:
    text = "FROM a AS build\nRUN 1\nFROM scratch\nUSER x\nCOPY --from=build / /\nFROM build\nCOPY --from=1 / /"
    assert names(text) == [
        "[build 1/2] FROM docker.io/library/a:latest",
        "[build 2/2] RUN 1",
        "[stage-1] FROM scratch",
        "[stage-1] USER x",
        "[stage-1 1/1] COPY --from=build / /",
        "[stage-2] FROM build",
        "[stage-2 1/1] COPY --from=1 / /",
    ]


def test_counts_are_as_wide_as_the_last_of_them() -> None:
    shown = names("FROM a\n" + "RUN x\n" * 9)
    assert (shown[0], shown[-1]) == ("[ 1/10] FROM docker.io/library/a:latest", "[10/10] RUN x")


def test_a_heredoc_is_shown_by_its_first_line_and_a_secret_not_at_all() -> None:
    text = "FROM a\nRUN <<E\none\ntwo\nE\nENV K=known\nRUN --mount=type=secret,id=k,env=K echo $K"
    assert names(text)[1] == "[stage-0 2/3] RUN <<E (one...)"
    assert names(text)[3] == "[stage-0 3/3] RUN --mount=type=secret,id=k,env=K echo ****"


def test_the_classic_text_is_the_line_as_it_was_written() -> None:
    graph = graph_of("FROM a AS x\nENV X=1\nrun echo \\\n   $X\n")
    assert [(step.number, step.text, step.instruction, step.stage) for step in graph.steps] == [
        (1, "FROM a AS x", "FROM", "x"),
        (2, "ENV X=1", "ENV", "x"),
        (3, "run echo    $X", "RUN", "x"),
    ]
    assert [(step.range.line, step.metadata, step.node) for step in graph.steps] == [
        (1, False, 0),
        (2, True, 0),
        (3, False, 1),
    ]


LINES = ("ENV A=1", "RUN x", "COPY a /", "WORKDIR /", "WORKDIR d", "USER u", "CMD x", "ADD --link a /", "ONBUILD RUN x")


@given(st.lists(st.lists(st.sampled_from(LINES), max_size=6), min_size=1, max_size=4), st.booleans())
def test_history_has_an_entry_with_a_layer_for_each_layer(stages: list[list[str]], chained: bool) -> None:
    text = ""
    for place, lines in enumerate(stages):
        text += f"FROM {f's{place - 1}' if chained and place else 'base'} AS s{place}\n" + "".join(
            f"{line}\n" for line in lines
        )
    graph = graph_of(text)
    entries = [entry for entry in graph.target.history if not entry.empty]
    assert len(entries) == len(layers(graph))
    assert [step.number for step in graph.steps] == list(range(1, len(graph.steps) + 1))
    _history_agrees_with_steps(graph)


def _history_agrees_with_steps(graph: Graph) -> None:
    steps = {step.number: step for step in graph.steps}
    for entry in graph.target.history:
        assert entry.created_by.split(" ")[0] == steps[entry.step].instruction
        assert entry.empty == steps[entry.step].metadata
