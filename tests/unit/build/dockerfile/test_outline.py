"""What a Dockerfile says that it offers."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.outline import outline, targets
from orlop.build.dockerfile.parser import parse

TEXT = """\
ARG NUMBER=1
# VERSION of the base
ARG VERSION=${NUMBER}.0
# UNUSED is not
ARG UNUSED=x
FROM base:$VERSION AS tools
RUN --mount=type=cache,target=/root/.cache --mount=type=cache,id=b,target=/b make
# app is the program
# and more
FROM scratch AS app
# PORT where it listens
ARG PORT=80$VERSION
ARG VERSION
ARG NAME
COPY --from=tools /bin/x /
RUN --mount=type=secret,id=token,required=true --mount=type=secret,target=/run/key \\
    --mount=type=ssh,id=$PORT --mount=type=ssh x
FROM --platform=$BUILDPLATFORM scratch
RUN --mount=from=app,target=/a x
"""


def lines(items: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(item["name"], item["location"]["ranges"][0]["start"]["line"]) for item in items]


def test_targets_are_the_stages() -> None:
    document = targets(parse(TEXT))
    places = [item.pop("location")["ranges"] for item in document["targets"]]
    assert places == [[{"start": {"line": line}, "end": {"line": line}}] for line in (6, 10, 18)]
    assert document["targets"] == [
        {"name": "tools", "base": "base:$VERSION"},
        {"name": "app", "base": "scratch", "description": "is the program"},
        {"base": "scratch", "default": True, "platform": "$BUILDPLATFORM"},
    ]
    assert [b64decode(text).decode() for text in document["sources"]] == [TEXT]


def test_an_outline_has_what_a_target_and_those_below_it_take() -> None:
    found = outline(parse(TEXT), "App")
    assert (found["name"], found["description"]) == ("app", "is the program")
    assert lines(found["args"]) == [("NUMBER", 1), ("VERSION", 3), ("PORT", 12), ("NAME", 14)]
    assert [item.get("value") for item in found["args"]] == ["1", "1.0", "80", None]
    assert [item.get("description") for item in found["args"]] == [None, "of the base", "where it listens", None]
    assert lines(found["secrets"]) == [("token", 16), ("key", 16)]
    assert [item.get("required") for item in found["secrets"]] == [True, None]
    assert lines(found["ssh"]) == [("80", 16), ("default", 16)]
    assert [(item["id"], item["target"]) for item in found["cache"]] == [("/root/.cache", "/root/.cache"), ("b", "/b")]


def test_arguments_of_the_client_are_values() -> None:
    found = outline(parse(TEXT), "tools", {"NUMBER": "2", "VERSION": "3"})
    assert [(item["name"], item["value"]) for item in found["args"]] == [("VERSION", "3")]


def test_the_last_stage_is_the_target_without_a_name() -> None:
    found = outline(parse(TEXT))
    assert "name" not in found
    assert [item["name"] for item in found["args"]] == ["NUMBER", "VERSION", "PORT", "NAME"]
    assert outline(parse(TEXT), "2") == found


def test_stages_that_need_each_other_end() -> None:
    text = "FROM scratch AS a\nARG X\nCOPY --from=b x /\nFROM scratch AS b\nARG Y\nCOPY --from=a x /"
    assert [item["name"] for item in outline(parse(text), "a")["args"]] == ["X", "Y"]


def test_a_target_that_is_not_there_is_told() -> None:
    with pytest.raises(DockerfileError, match=r'target stage "apq" could not be found \(did you mean app\?\)'):
        outline(parse(TEXT), "apq")
    with pytest.raises(DockerfileError, match="no stages"):
        outline(parse("ARG A"))
