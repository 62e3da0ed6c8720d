"""What stages start from: images, contexts that stand for them, and what ONBUILD hands on."""

from __future__ import annotations

from typing import Any

import pytest

from orlop.build.convert import ConversionError, Missing, convert
from orlop.build.dockerfile.parser import parse
from orlop.build.graph import BaseImage, Context, CopyFiles, Files, Git, ImageInfo, ImageWanted, NodeFiles, Scratch
from orlop.build.request import BuildRequest
from orlop.formats.platform import Platform
from support.converting import HOST, copies, execs, graph_of, image, layers, made_by

ARM64 = Platform("linux", "arm64")


def wanted(text: str, **request: Any) -> tuple[ImageWanted, ...]:
    result = convert(parse(text), BuildRequest(dockerfile=text, **request), {}, HOST)
    assert isinstance(result, Missing)
    return result.images


def test_all_images_that_the_target_needs_are_asked_for_at_once() -> None:
    text = "FROM x AS unneeded\nFROM a AS one\nFROM --platform=linux/arm64 b\nCOPY --from=one / /\nCOPY --from=c / /\n"
    text += "RUN --mount=from=d,target=/d 1"
    assert set(wanted(text)) == {
        ImageWanted("a", HOST),
        ImageWanted("b", ARM64),
        ImageWanted("c", HOST),
        ImageWanted("d", HOST),
    }
    assert wanted("FROM a", platform=ARM64) == (ImageWanted("a", ARM64),)


def test_an_image_stands_in_the_graph_with_its_layers_and_canonical_name() -> None:
    graph = graph_of("FROM base:1", {"base:1": image("b", 2)})
    assert graph.nodes == (BaseImage(("sha256:b-0", "sha256:b-1"), "docker.io/library/base:1", "sha256:b", HOST),)
    node = graph.nodes[0]
    assert isinstance(node, BaseImage)
    assert (node.reference, node.image_id) == ("docker.io/library/base:1", "sha256:b")
    assert [step.name for step in graph.steps] == ["[1/1] FROM docker.io/library/base:1"]


def test_an_image_without_layers_is_scratch() -> None:
    assert graph_of("FROM empty", {"empty": image("e", 0)}).nodes == (Scratch(),)


def test_an_image_may_be_named_by_its_id() -> None:
    assert wanted(f"FROM {'ab' * 32}") == (ImageWanted("ab" * 32, HOST),)


def test_configuration_and_history_of_the_base_are_inherited() -> None:
    config: dict[str, Any] = {
        "User": "u",
        "WorkingDir": "/w",
        "Cmd": ["c"],
        "Labels": {"a": "1"},
        "Hostname": "gone",
        "Image": "gone",
        "Volumes": {"/v": {}},
        "ExposedPorts": None,
    }
    graph = graph_of("FROM a\nRUN x", {"a": image("a", **config)})
    assert graph.target.config == {
        "User": "u",
        "WorkingDir": "/w",
        "Cmd": ["c"],
        "Labels": {"a": "1"},
        "Volumes": {"/v": {}},
        "Env": ["PATH=/bin"],
    }
    assert graph.target.base_history == ({"created_by": "a 0"},)
    (node,) = execs(graph)
    assert (node.user, node.directory) == ("u", "/w")


def test_a_base_is_not_changed_by_what_is_built_on_it() -> None:
    base = image("a", Labels={"a": "1"})
    graph_of("FROM a\nLABEL a=2\nFROM a\nLABEL a=3", {"a": base})
    assert base.document["config"]["Labels"] == {"a": "1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM ${X}", "base name (${X}) should not be blank"),
        (
            "FROM Base",
            'failed to parse stage name "Base": invalid reference format: repository name (library/Base) must',
        ),
        ("FROM a:b:c", 'failed to parse stage name "a:b:c": invalid reference format'),
        ("FROM --platform=$X a", "empty platform value from expression $X"),
        ("FROM --platform=$TARGETPLATFROM a", "did you mean TARGETPLATFORM?"),
        ("FROM --platform=a/b/c/d a", "failed to parse platform a/b/c/d"),
        ("FROM a\nCOPY --from=B:b:b / /", 'failed to parse stage name "B:b:b"'),
    ],
)
def test_a_base_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConversionError) as caught:
        graph_of(text)
    assert message in caught.value.message


# Named contexts


def test_a_named_context_stands_for_an_image_whatever_its_spelling() -> None:
    for name in ("busybox", "busybox:latest", "docker.io/library/busybox"):
        assert wanted("FROM busybox", named={name: "mine:1"}) == (ImageWanted("mine:1", HOST),)
    assert wanted("FROM busybox:1", named={"busybox": "mine"}) == (ImageWanted("busybox:1", HOST),)
    assert wanted("FROM a", named={"a": "docker-image://b"}) == (ImageWanted("b", HOST),)
    assert graph_of("FROM a", named={"a": "scratch"}).nodes == (Scratch(),)


def test_a_named_context_stands_for_a_stage_and_all_that_it_does() -> None:
    text = "FROM a AS deps\nRUN 1\nFROM deps\nRUN 2"
    graph = graph_of(text, named={"deps": "b"})
    assert [node.arguments[-1] for node in execs(graph)] == ["2"]
    node = graph.nodes[graph.target.base]
    assert isinstance(node, BaseImage)
    assert node.reference == "docker.io/library/b:latest"


def test_files_are_taken_from_a_context_of_the_client_by_its_name() -> None:
    text = "FROM a\nCOPY --from=src /x /\nRUN --mount=from=src,target=/src 1"
    graph = graph_of(text, named={"src": "context"})
    assert [copy.source for copy in copies(graph)] == [Context("src")]
    assert execs(graph)[0].mounts[0].input == Context("src")
    replaced = graph_of("FROM a AS src\nRUN 1\nFROM scratch\nCOPY --from=src / /", named={"src": "context"})
    assert [copy.source for copy in copies(replaced)] == [Context("src")]


@pytest.mark.parametrize(
    ("value", "source"), [("context", Context("src")), ("https://e.com/r.git#v1", Git("https://e.com/r.git", "v1"))]
)
def test_a_context_as_a_base_is_a_layer_of_its_files(value: str, source: Context | Git) -> None:
    graph = graph_of("FROM src\nRUN 1", named={"src": value})
    assert layers(graph)[0] == Files(0, (CopyFiles(source, ("",), "/"),))
    assert [entry.empty for entry in graph.target.history] == [False, False]


def test_the_names_scratch_and_context_cannot_be_given_away() -> None:
    assert graph_of("FROM scratch", named={"scratch": "b"}).nodes == (Scratch(),)
    assert wanted("FROM context", named={"context": "b"}) == (ImageWanted("context", HOST),)


# ONBUILD


def base(*triggers: str) -> dict[str, ImageInfo]:
    return {"base": image("base", OnBuild=list(triggers))}


def test_triggers_of_an_image_run_first_and_only_once() -> None:
    graph = graph_of("FROM base AS one\nENV X=own\nFROM one\nRUN 2", base("RUN trigger", "ENV X=1"))
    assert made_by(graph) == [
        "RUN /bin/sh -c trigger # buildkit",
        "ENV X=1",
        "ENV X=own",
        "RUN /bin/sh -c 2 # buildkit",
    ]
    assert "OnBuild" not in graph.target.config
    assert graph.steps[1].name == "[one 2/2] ONBUILD RUN trigger"
    assert graph.steps[1].range == graph.steps[0].range


def test_triggers_of_a_stage_run_in_those_that_start_from_it() -> None:
    text = "FROM a AS one\nONBUILD RUN trigger\nFROM one AS two\nRUN 2\nFROM two\nRUN 3"
    assert [node.arguments[-1] for node in execs(graph_of(text))] == ["trigger", "2", "3"]
    one = graph_of(text, target="one")
    assert one.target.config["OnBuild"] == ["RUN trigger"]
    assert one.target.history == ()


def test_a_trigger_may_need_stages_and_images_that_nothing_else_does() -> None:
    text = "FROM x AS tools\nRUN 1\nFROM base\nRUN 2"
    graph = graph_of(text, base("COPY --from=tools /t /", "COPY --from=other /o /", "COPY . /"))
    assert graph.stages == ("tools", "stage-1")
    first, second, third = copies(graph)
    assert first.source == NodeFiles(1)
    assert isinstance(second.source, NodeFiles)
    assert isinstance(graph.nodes[second.source.node], BaseImage)
    assert third.source == Context()


def test_triggers_of_an_image_that_a_trigger_needs_do_not_run() -> None:
    images = base("COPY --from=other /o /") | {"other": image("other", OnBuild=["RUN never"])}
    assert execs(graph_of("FROM base", images)) == []


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ("RUNN x", "unknown instruction: RUNN (did you mean RUN?)"),
        ("COPY --from=own / /", 'cannot copy from stage "own", it needs to be defined before current stage "own"'),
    ],
)
def test_a_trigger_that_cannot_be_is_refused_at_the_from_that_brought_it(trigger: str, message: str) -> None:
    with pytest.raises(ConversionError) as caught:
        graph_of("FROM a AS zero\nFROM base AS own", base(trigger))
    assert caught.value.message == message
    assert caught.value.range is not None
    assert caught.value.range.line == 2
