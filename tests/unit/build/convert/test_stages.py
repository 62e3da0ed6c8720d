"""Which stages are built, how they are found, and what goes wrong among them."""

from __future__ import annotations

from typing import Any

import pytest

from orlop.build.convert import ConversionError
from orlop.build.graph import BaseImage, Context, Files, NodeFiles, Scratch
from support.converting import copies, execs, graph_of, image, made_by

THREE = """
    FROM busybox AS one
    RUN 1
    FROM one AS Two
    RUN 2
    FROM scratch
    COPY --from=two / /
    """


def test_only_what_the_target_needs_is_built() -> None:
    assert graph_of(THREE).stages == ("one", "two", "stage-2")
    assert graph_of(THREE, target="two").stages == ("one", "two")
    assert graph_of(THREE, target="one").stages == ("one",)
    assert len(graph_of(THREE, target="one").nodes) == 2


@pytest.mark.parametrize("target", ["two", "TWO", "1"])
def test_a_target_is_a_name_in_any_case_or_a_number(target: str) -> None:
    assert graph_of(THREE, target=target).stages == ("one", "two")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("too", 'target stage "too" could not be found (did you mean two?)'),
        ("nowhere", 'target stage "nowhere" could not be found'),
        ("3", 'target stage "3" could not be found'),
        ("-1", 'target stage "-1" could not be found'),
    ],
)
def test_an_unknown_target_is_refused_with_what_might_be_meant(target: str, message: str) -> None:
    with pytest.raises(ConversionError) as caught:
        graph_of(THREE, target=target)
    assert (caught.value.message, caught.value.status) == (message, 400)


def test_a_stage_goes_on_where_another_ended() -> None:
    graph = graph_of("FROM a AS one\nENV X=1\nUSER u\nRUN 1\nFROM one\nRUN 2")
    assert [(node.arguments[-1], node.user) for node in execs(graph)] == [("1", "u"), ("2", "u")]
    assert made_by(graph) == ["ENV X=1", "USER u", "RUN /bin/sh -c 1 # buildkit", "RUN /bin/sh -c 2 # buildkit"]
    assert graph.target.base_history == ({"created_by": "a 0"},)


def test_stages_share_the_node_of_their_image() -> None:
    graph = graph_of("FROM a AS one\nRUN 1\nFROM a\nCOPY --from=one / /\nCOPY --from=a /x /")
    assert sum(isinstance(node, BaseImage) for node in graph.nodes) == 1
    assert [copy.source for copy in copies(graph)] == [NodeFiles(1), NodeFiles(0)]


def test_nodes_stand_before_those_that_need_them() -> None:
    graph = graph_of(THREE)
    for place, node in enumerate(graph.nodes):
        if isinstance(node, Files):
            assert node.base < place
            sources = [action.source for action in node.actions if hasattr(action, "source")]
            assert all(source.node < place for source in sources if isinstance(source, NodeFiles))


@pytest.mark.parametrize("name", ["one", "ONE", "0"])
def test_copy_takes_from_a_stage_by_name_or_number(name: str) -> None:
    graph = graph_of(f"FROM a AS one\nRUN 1\nFROM scratch\nCOPY --from={name} /x /")
    assert [copy.source for copy in copies(graph)] == [NodeFiles(1)]


def test_from_sees_the_stages_above_it_and_copy_the_last_of_a_name() -> None:
    graph = graph_of("FROM a AS one\nFROM b AS one\nFROM one\nCOPY --from=one / /")
    assert isinstance(graph.nodes[graph.target.base], BaseImage)
    assert graph.stages == ("one", "stage-2")


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("FROM a AS x\nCOPY --from=x / /", "circular dependency detected on stage: x", 2),
        ("FROM a\nCOPY --from=0 / /", "circular dependency detected on stage: stage-0", 2),
        (
            "FROM a AS x\nCOPY --from=y / /\nFROM b AS y\nCOPY --from=x / /",
            "circular dependency detected on stage: x",
            4,
        ),
        (
            "FROM a AS x\nRUN --mount=from=y,target=/y 1\nFROM x AS y\nRUN --mount=from=x,target=/x 1",
            "circular dependency detected on stage: x",
            4,
        ),
        (
            "FROM a AS x\nCOPY --from=y / /\nFROM b AS y\nFROM x",
            'cannot copy from stage "y", it needs to be defined before current stage "x"',
            2,
        ),
        (
            "FROM a AS x\nRUN --mount=from=y,target=/y 1\nFROM b AS y\nFROM x",
            'cannot mount from stage "y" to "/y", stage needs to be defined before current command',
            2,
        ),
        ("FROM a\nCOPY --from=7 / /", "invalid stage index 7", 2),
        ("FROM a\nCOPY --from=-1 / /", "invalid stage index -1", 2),
        (
            "FROM a\nARG S=x\nCOPY --from=$S / /",
            "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope"
            " as a workaround",
            3,
        ),
        (
            "FROM a\nRUN --mount=from=${S},target=/x 1",
            "'from' doesn't support variable expansion, define alias stage instead",
            2,
        ),
    ],
)
def test_sources_that_cannot_be_are_refused_where_they_stand(text: str, message: str, line: int) -> None:
    with pytest.raises(ConversionError) as caught:
        graph_of(text)
    assert caught.value.message == message
    assert caught.value.range is not None
    assert caught.value.range.line == line


def test_a_stage_that_nothing_needs_may_name_what_comes_later() -> None:
    assert graph_of("FROM a AS x\nCOPY --from=y / /\nFROM scratch AS y\nCOPY f /").stages == ("y",)


def test_mounts_take_from_stages_images_and_the_context() -> None:
    graph = graph_of(
        """
        FROM a AS one
        RUN 1
        FROM b
        RUN --mount=from=one,target=/1 --mount=from=c,source=x,target=/2 \
            --mount=target=/3 --mount=type=cache,target=/4 2
        """
    )
    (node,) = execs(graph)
    assert [mount.input for mount in node.mounts] == [NodeFiles(1), NodeFiles(3), Context(), None]
    assert isinstance(graph.nodes[3], BaseImage)
    assert graph.nodes[3].reference == "docker.io/library/c:latest"


def test_a_cache_may_begin_with_the_files_of_a_stage() -> None:
    graph = graph_of("FROM a AS one\nRUN 1\nFROM b\nRUN --mount=type=cache,from=one,source=/x,target=/c 2")
    (mount,) = execs(graph)[0].mounts
    assert (mount.kind, mount.input, mount.source) == ("cache", NodeFiles(1), "x")


def test_scratch_is_nothing_to_start_from_and_to_copy_from() -> None:
    graph = graph_of("FROM scratch\nCOPY --from=scratch / /")
    assert [type(node) for node in graph.nodes] == [Scratch, Files]
    assert graph.target.config["WorkingDir"] == "/"


def test_the_cache_is_left_aside_for_all_or_for_stages_by_name() -> None:
    def uncached(**request: Any) -> set[str]:
        return {step.stage for step in graph_of(THREE, **request).steps if step.no_cache}

    assert uncached() == set()
    assert uncached(no_cache=True) == {"one", "two", "2"}
    assert uncached(no_cache_stages=("TWO", "absent")) == {"two"}
    assert uncached(no_cache_stages=("stage-2",)) == {"2"}


def test_an_image_has_no_more_layers_than_the_kernel_stacks() -> None:
    graph_of("FROM a\n" + "RUN 1\n" * 9, {"a": image("a", 490)})
    with pytest.raises(ConversionError, match="max depth exceeded"):
        graph_of("FROM a\n" + "RUN 1\n" * 10, {"a": image("a", 490)})
