"""Build arguments and variables: who sees which, and which value wins."""

from __future__ import annotations

from typing import Any

import pytest

from orlop.build.convert import ConversionError
from orlop.build.graph import BaseImage
from orlop.formats.platform import Platform
from support.converting import execs, graph_of, image, made_by

ARM = Platform("linux", "arm", "v7")


def environment(text: str, **request: Any) -> dict[str, str]:
    """Return what the last RUN of a Dockerfile sees, but for PATH."""
    node = execs(graph_of(text, **request))[-1]
    return {name: value for name, value in (item.split("=", 1) for item in node.environment) if name != "PATH"}


def base_name(text: str, **request: Any) -> str:
    graph = graph_of(text, **request)
    node = graph.nodes[graph.target.base]
    assert isinstance(node, BaseImage)
    return node.reference.removeprefix("docker.io/library/")


def test_arguments_above_the_first_from_are_seen_by_from_alone() -> None:
    text = "ARG V=1\nARG W=x$V\nFROM base:$W\nRUN 1\n"
    assert base_name(text) == "base:x1"
    assert environment(text) == {}
    assert base_name(text, arguments={"V": "2"}) == "base:x2"


def test_an_argument_without_a_value_takes_the_global_one() -> None:
    text = "ARG V=1\nFROM base\nARG V\nARG W\nRUN 1"
    assert environment(text) == {"V": "1"}
    assert environment(text, arguments={"V": "2", "W": "3"}) == {"V": "2", "W": "3"}


def test_a_default_is_expanded_and_what_the_client_gives_is_not() -> None:
    text = "FROM base\nENV A=a\nARG B=${A}b C=${B}c\nRUN 1"
    assert environment(text) == {"A": "a", "B": "ab", "C": "abc"}
    assert environment(text, arguments={"B": "$A"}) == {"A": "a", "B": "$A", "C": "$Ac"}


def test_an_argument_that_the_client_names_without_a_value_has_none() -> None:
    assert environment("FROM base\nARG V=1\nRUN 1", arguments={"V": None}) == {}
    assert environment("ARG V=0\nFROM base\nARG V=1\nRUN 1", arguments={"V": None}) == {}


def test_an_argument_holds_from_its_line_on_and_in_the_stages_that_follow_from_it() -> None:
    text = "FROM base AS one\nENV E=<$V>\nARG V=1\nENV F=<$V>\nFROM one\nENV G=<$V>\nRUN 1\n"
    assert environment(text) == {"E": "<>", "F": "<1>", "V": "1", "G": "<1>"}
    assert environment("FROM base AS one\nARG V=1\nFROM base\nRUN 1") == {}


def test_env_wins_over_an_argument_of_the_same_name_that_stands_above_it() -> None:
    text = "FROM base\nARG V=1\nENV V=${V:-0}-env\nRUN 1"
    assert environment(text, arguments={"V": "2"}) == {"V": "2-env"}
    text = "FROM base\nENV V=env\nARG V=1\nRUN 1"
    assert environment(text) == {"V": "1"}
    graph = graph_of(text)
    assert graph.target.config["Env"] == ["PATH=/bin", "V=env"]


def test_a_line_of_env_sees_what_was_before_it() -> None:
    assert environment("FROM base\nENV a=1\nENV a=2 b=$a\nRUN 1") == {"a": "2", "b": "1"}


def test_the_platform_is_known_to_from_and_to_stages_that_ask() -> None:
    text = "FROM base:$TARGETARCH-$TARGETVARIANT-$BUILDARCH\nARG TARGETPLATFORM\nARG BUILDOS TARGETSTAGE\nRUN 1"
    assert base_name(text, platform=ARM) == "base:arm-v7-amd64"
    assert environment(text, platform=ARM) == {
        "TARGETPLATFORM": "linux/arm/v7",
        "BUILDOS": "linux",
        "TARGETSTAGE": "default",
    }
    assert environment("FROM base\nARG TARGETARCH\nRUN 1", arguments={"TARGETARCH": "x"}) == {"TARGETARCH": "x"}


def test_a_stage_may_be_of_another_platform() -> None:
    text = "FROM --platform=$BUILDPLATFORM base AS one\nRUN 1\nFROM one\nRUN 2\n"
    graph = graph_of(text, platform=ARM)
    assert {node.platform for node in execs(graph)} == {"linux/amd64"}
    assert graph.target.platform == ARM
    graph = graph_of("FROM --platform=linux/arm64 base\nRUN 1")
    assert (execs(graph)[0].platform, graph.target.platform) == ("linux/arm64", Platform("linux", "arm64"))


def test_proxies_are_seen_undeclared_and_change_nothing() -> None:
    given = {"HTTP_PROXY": "http://p", "no_proxy": "x", "FTP_PROXY": ""}
    node = execs(graph_of("FROM base\nRUN 1", arguments=given))[0]
    assert node.proxies == ("HTTP_PROXY=http://p", "http_proxy=http://p", "NO_PROXY=x", "no_proxy=x")
    assert node == execs(graph_of("FROM base\nRUN 1"))[0]
    text = "FROM base\nARG HTTP_PROXY\nRUN 1"
    graph = graph_of(text, arguments=given)
    assert environment(text, arguments=given) == {"HTTP_PROXY": "http://p"}
    assert execs(graph)[0].proxies[0] == "http_proxy=http://p"
    assert made_by(graph)[-1] == "RUN |1 HTTP_PROXY=http://p /bin/sh -c 1 # buildkit"


def test_declared_arguments_stand_in_the_history_of_run() -> None:
    text = "FROM base\nARG a b=c\nARG b=d\nENV b=e\nRUN x"
    assert made_by(graph_of(text)) == [
        "ARG a b=c",
        "ARG b=d",
        "ENV b=e",
        "RUN |2 a= b=e /bin/sh -c x # buildkit",
    ]
    assert execs(graph_of(text))[0].argument_names == {"a", "b"}


def test_arguments_that_nothing_asks_for_are_named() -> None:
    given = {"A": "1", "B": "1", "C": "1", "D": None, "http_proxy": "p", "BUILDKIT_INLINE_CACHE": "1"}
    given |= {"SOURCE_DATE_EPOCH": "1", "TARGETARCH": "x", "BUILDPLATFORM": "y", "ARCH": "z"}
    text = "ARG A\nFROM base AS unneeded\nARG B\nFROM base\nRUN 1"
    assert graph_of(text, arguments=given).unused_arguments == ("ARCH", "C", "D")
    images = {"base": image("base", OnBuild=["ARG C"])}
    assert graph_of(text, images, arguments=given).unused_arguments == ("ARCH", "D")


@pytest.mark.parametrize(
    ("text", "given", "epoch"),
    [
        ("FROM a", {}, None),
        ("FROM a", {"SOURCE_DATE_EPOCH": "1700000000"}, 1700000000),
        ("FROM a", {"SOURCE_DATE_EPOCH": ""}, None),
        ("ARG SOURCE_DATE_EPOCH=12\nFROM a", {}, 12),
        ("ARG SOURCE_DATE_EPOCH=12\nFROM a", {"SOURCE_DATE_EPOCH": "13"}, 13),
        ("FROM a\nARG SOURCE_DATE_EPOCH=12", {}, None),
    ],
)
def test_the_epoch_comes_from_the_client_or_from_above_the_first_from(
    text: str, given: dict[str, str], epoch: int | None
) -> None:
    assert graph_of(text, arguments=given).epoch == epoch


def test_a_run_sees_the_epoch_only_if_it_was_declared() -> None:
    given = {"SOURCE_DATE_EPOCH": "7"}
    assert environment("FROM a\nRUN 1", arguments=given) == {}
    assert environment("FROM a\nARG SOURCE_DATE_EPOCH\nRUN 1", arguments=given) == given


def test_an_epoch_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConversionError, match="invalid SOURCE_DATE_EPOCH: soon"):
        graph_of("FROM a", arguments={"SOURCE_DATE_EPOCH": "soon"})


def test_path_is_set_where_the_base_has_none() -> None:
    graph = graph_of("FROM a\nRUN 1", {"a": image("a", Env=["X=1"])})
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert graph.target.config["Env"] == ["X=1", path]
    assert execs(graph)[0].environment == ("X=1", path)


def test_an_expansion_that_fails_says_where() -> None:
    with pytest.raises(ConversionError, match="need") as caught:
        graph_of("FROM a\nRUN 1\nENV X=${Y:?need}")
    assert caught.value.range is not None
    assert caught.value.range.line == 3
