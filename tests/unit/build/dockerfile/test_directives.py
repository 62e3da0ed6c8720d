"""Directives at the top, and the frontends that they may name."""

from __future__ import annotations

import pytest

from orlop.build.dockerfile.directives import CheckOptions, check_options
from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.frontend import check_frontend
from orlop.build.dockerfile.parser import parse
from orlop.build.dockerfile.tree import Directives, Range
from orlop.errors import InvalidArgument


def directives(text: str) -> Directives:
    return parse(f"{text}\nFROM a").directives


def test_directives_stand_at_the_top_in_any_order_and_case() -> None:
    found = directives("#SYNTAX=docker/dockerfile:1 x\n #  Escape = ` \r\n# check = skip=A, B;error=true")
    assert found == Directives("docker/dockerfile:1", "`", ("A", ""), False)
    assert directives("# check=skip=A,B;error=true;experimental=all") == Directives(
        "", "\\", ("A", "B"), True, ("all",)
    )


@pytest.mark.parametrize(
    "text", ["\n# escape=`", "# a\n# escape=`", "# other=1\n# escape=`", "## escape=`", "# escape"]
)
def test_behind_anything_else_they_are_comments(text: str) -> None:
    assert directives(text) == Directives()


def test_a_first_line_for_the_kernel_does_not_hide_the_syntax() -> None:
    assert directives("#!/usr/bin/env x\n# syntax=docker/dockerfile:1\n# escape=`") == Directives("docker/dockerfile:1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# escape=`\n# escape=`", "line 2: only one escape parser directive can be used"),
        ("# escape=x", "line 1: invalid escape token 'x' does not match ` or \\"),
        ("# escape= ", "line 1: invalid escape token ' ' does not match ` or \\"),
        ("# check=x", 'line 1: failed to parse check options: invalid check option "x"'),
        ("# syntax=foo/bar:1\n", "line 1: frontend foo/bar:1 is not supported: only docker/dockerfile is"),
    ],
)
def test_wrong_ones_are_refused(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        directives(text)
    assert str(caught.value).startswith(f"dockerfile parse error on {message}")


def test_check_options_are_few() -> None:
    assert check_options(" ") == CheckOptions()
    assert check_options("error = f") == CheckOptions()
    for text in ("skip", "Skip=a", "error=yes", "skip=a;;"):
        with pytest.raises(ValueError):
            check_options(text)


@pytest.mark.parametrize(
    "syntax",
    [
        "docker/dockerfile",
        "docker/dockerfile:1",
        "docker/dockerfile:1.19",
        "docker/dockerfile:1.7.1-labs",
        "docker/dockerfile:labs",
        "docker.io/docker/dockerfile:latest",
        "docker/dockerfile-upstream:master",
        "docker/dockerfile:1@sha256:" + "0" * 64,
    ],
)
def test_the_frontend_of_docker_is_built_in(syntax: str) -> None:
    assert check_frontend(syntax) is None


@pytest.mark.parametrize(
    "syntax", ["docker/dockerfile:1.20", "docker/dockerfile-upstream:2", "docker/dockerfile:3-labs"]
)
def test_a_newer_one_warns(syntax: str) -> None:
    assert (check_frontend(syntax) or "").startswith(f"{syntax} is newer than the built-in frontend")
    (warning,) = parse(f"# syntax={syntax}\nFROM a").warnings
    assert (warning.rule, warning.range) == ("FrontendVersion", Range(1, 1))


@pytest.mark.parametrize("syntax", ["dockerfile", "quay.io/docker/dockerfile:1", "docker/dockerfilex", "A:B:C"])
def test_another_one_is_refused_by_name(syntax: str) -> None:
    with pytest.raises(InvalidArgument, match=syntax):
        check_frontend(syntax)


def test_the_caller_can_name_the_frontend() -> None:
    with pytest.raises(DockerfileError, match="frontend other/one is not supported"):
        parse("# syntax=docker/dockerfile:1\nFROM a", syntax="other/one")
    assert parse("# syntax=other/one\nFROM a", syntax="docker/dockerfile:1").warnings == ()
