"""The checks, one by one, and that what is all right is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.build.dockerfile.check import check
from orlop.build.dockerfile.check.rules import RULES
from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.parser import parse
from orlop.build.dockerfile.reading import Base
from orlop.formats.ignore import Ignore
from orlop.formats.platform import Platform

IMAGE = Base(environment={"HOME": "/root", "PATH": "/bin"}, platform=Platform("linux", "amd64"))


def found(text: str, **options: object) -> list[tuple[str, int]]:
    warnings = check(parse(text), bases=lambda name, platform: IMAGE, **options)  # type: ignore[arg-type]
    return [(item.rule, item.range.line if item.range else 0) for item in warnings]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM scratch AS Base", [("StageNameCasing", 1)]),
        ("FROM scratch as base", [("FromAsCasing", 1)]),
        ("from scratch As base", [("FromAsCasing", 1)]),
        ("from scratch as base", []),
        ("From scratch as base", [("ConsistentInstructionCasing", 1)]),
        ("FROM scratch\nRUN a \\\n\n b", [("NoEmptyContinuation", 4)]),
        ("FROM scratch\nCOPY a /\nworkdir /x", [("ConsistentInstructionCasing", 3)]),
        ("from scratch\nUser 1\nuser 1", [("ConsistentInstructionCasing", 2)]),
        ("from scratch\nUSER 1", [("ConsistentInstructionCasing", 1)]),
        ("arg A\nFROM scratch", []),
        ("FROM scratch AS a\nFROM scratch AS a", [("DuplicateStageName", 2)]),
        ("FROM scratch AS context", [("ReservedStageName", 1)]),
        ("FROM scratch\nCMD run it", [("JSONArgsRecommended", 2)]),
        ('FROM scratch\nSHELL ["a"]\nCMD run it', []),
        ('FROM scratch AS a\nSHELL ["a"]\nFROM a\nENTRYPOINT run it', []),
        ("FROM scratch\nONBUILD CMD run it", []),
        ("FROM scratch AS a\nONBUILD CMD run it\nFROM a", [("JSONArgsRecommended", 3)]),
        ("FROM scratch\nMAINTAINER me", [("MaintainerDeprecated", 2)]),
        ("ARG VERSION=1\nFROM base:1${VERSIO}", [("UndefinedArgInFrom", 2)]),
        ("ARG VERSION=1\nFROM base:${VERSIO}", [("UndefinedArgInFrom", 2), ("InvalidDefaultArgInFrom", 2)]),
        ("ARG VERSION\nFROM base:$VERSION", [("InvalidDefaultArgInFrom", 2)]),
        ("ARG VERSION=1\nFROM base:$VERSION", []),
        ("FROM base:1-$TARGETARCH", []),
        ("ARG A=1\nARG B=${A}2\nFROM base:$B", []),
        ("FROM scratch\nWORKDIR x\nWORKDIR y", [("WorkdirRelativePath", 2)]),
        ("FROM scratch\nWORKDIR /y\nWORKDIR x", []),
        ("FROM scratch AS a\nWORKDIR /y\nFROM a\nWORKDIR x", []),
        ("FROM scratch\nARG where=/x\nWORKDIR $where", []),
        ("FROM scratch\nCOPY $where /", [("UndefinedVar", 2)]),
        ("FROM scratch\nCOPY ${where:-x} /", [("UndefinedVar", 2)]),
        ("FROM scratch\nCOPY '$where' \\$where /", []),
        ("FROM scratch\nARG where\nCOPY $where ${PATH} /", []),
        ("FROM scratch\nENV a=$b b=1\nENV c=$b", [("UndefinedVar", 2)]),
        ("FROM scratch\nARG a=1 b=$a c=$d", [("UndefinedVar", 2)]),
        ("FROM scratch\nCOPY <<E /\n$a\nE\nCOPY <<'E' /\n$a\nE", [("UndefinedVar", 2)]),
        ("FROM scratch\nRUN --mount=type=cache,target=/$a echo $b", [("UndefinedVar", 2)]),
        ("FROM scratch\nCMD [\"$a\"]\nEXPOSE $a\nONBUILD USER $a", []),
        ("FROM image\nCOPY $HOME $HOMER /", [("UndefinedVar", 2)]),
        ("ARG a=1\nFROM scratch\nCOPY $a /", [("UndefinedVar", 3)]),
        ("FROM scratch AS a\nARG b\nENV c=1\nFROM a\nUSER $b$c", []),
        ('FROM scratch\nCMD ["a"]\nCMD ["b"]', [("MultipleInstructionsDisallowed", 2)]),
        ("FROM scratch\nHEALTHCHECK NONE\nHEALTHCHECK NONE\nFROM scratch\nHEALTHCHECK NONE", [
            ("MultipleInstructionsDisallowed", 2)
        ]),
        ("FROM scratch\nENV a b", [("LegacyKeyValueFormat", 2)]),
        ("FROM scratch\nLABEL a b", [("LegacyKeyValueFormat", 2)]),
        ("FROM --platform=$TARGETPLATFORM scratch", [("RedundantTargetPlatform", 1)]),
        ("FROM --platform=linux/amd64 scratch", [("FromPlatformFlagConstDisallowed", 1)]),
        ("FROM --platform=linux/amd64 scratch AS build-amd64", []),
        ("FROM --platform=$BUILDPLATFORM scratch", []),
        ("FROM --platform=${TARGETPLATFORM:-x} scratch", [("RedundantTargetPlatform", 1)]),
        ("FROM --platform=linux/arm64 image AS arm64", [("InvalidBaseImagePlatform", 1)]),
        ("FROM scratch\nENV DB_PASSWORD=x PUBLIC_KEY=y KEY_FILE=z MONKEY=1", [("SecretsUsedInArgOrEnv", 2)]),
        ("FROM scratch\nARG API_TOKEN", [("SecretsUsedInArgOrEnv", 2)]),
        ("ARG API_TOKEN\nFROM scratch", []),
        ("FROM scratch\nEXPOSE 80/TCP 81/tcp", [("ExposeProtoCasing", 2)]),
        ("FROM scratch\nEXPOSE 127.0.0.1:80:80", [("ExposeInvalidFormat", 2)]),
        ("FROM scratch\nARG p=8080:80\nEXPOSE $p", [("ExposeInvalidFormat", 3)]),
        ("# check=skip=JSONArgsRecommended,UndefinedVar\nFROM scratch\nCMD a\nUSER $b\nMAINTAINER me", [
            ("MaintainerDeprecated", 5)
        ]),
        ("# check=skip=all\nFROM scratch AS A\nCMD a", []),
        ("# what it is\nFROM scratch AS a", []),
        ("# check=experimental=all\n# what it is\nFROM scratch AS a", [("InvalidDefinitionDescription", 3)]),
        ("# check=experimental=InvalidDefinitionDescription\nFROM scratch\n# a is\nARG a\n# no\nARG b c", [
            ("InvalidDefinitionDescription", 6)
        ]),
    ],
)  # fmt: skip
def test_each_rule_is_found_where_it_is_broken(text: str, expected: list[tuple[str, int]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM scratch AS Base", "Stage name 'Base' should be lowercase"),
        ("FROM scratch as base", "'as' and 'FROM' keywords' casing do not match"),
        ("FROM scratch AS a\nuser 1", "Command 'user' should match the case of the command majority (uppercase)"),
        ("FROM scratch AS a\nFROM scratch AS a", 'Duplicate stage name "a", stage names should be unique'),
        ("FROM scratch AS scratch", 'Stage name should not use the same name as reserved stage "scratch"'),
        ("ARG VERSION=1\nFROM a:1$VERSIO", "FROM argument 'VERSIO' is not declared (did you mean VERSION?)"),
        ("FROM a:$TAG", "FROM argument 'TAG' is not declared"),
        ("ARG T\nFROM a:$T", "Default value for ARG a:$T results in empty or invalid base image name"),
        ("FROM image\nUSER $HOMER", "Usage of undefined variable '$HOMER' (did you mean $HOME?)"),
        ("from scratch\nenv a b", '"env key=value" should be used instead of legacy "env key value" format'),
        (
            "FROM --platform=${TARGETPLATFORM} scratch",
            "Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the default behavior",
        ),
        ("FROM --platform=linux/arm64 scratch", 'FROM --platform flag should not use constant value "linux/arm64"'),
        (
            "FROM --platform=linux/arm64 image:1 AS arm64",
            'Base image image:1 was pulled with platform "linux/amd64", expected "linux/arm64" for current build',
        ),
        ("FROM scratch\nARG TOKEN", 'Do not use ARG or ENV instructions for sensitive data (ARG "TOKEN")'),
        ("FROM scratch\nEXPOSE 80/UDP", "Defined protocol '80/UDP' in EXPOSE instruction should be lowercase"),
        (
            "FROM scratch\nEXPOSE 1:80",
            "EXPOSE instruction should not define an IP address or host-port mapping, found '1:80'",
        ),
        (
            "# check=experimental=all\n# no\nFROM scratch AS a",
            "Comment for FROM should follow the format: `# a <description>`",
        ),
    ],
)
def test_warnings_say_what_is_wrong(text: str, message: str) -> None:
    assert message in [item.message for item in check(parse(text), bases=lambda name, platform: IMAGE)]


def test_nothing_is_said_of_variables_of_images_that_are_not_known() -> None:
    text = "FROM image AS a\nUSER $a\nFROM a\nUSER $b\nFROM scratch\nUSER $c"
    assert [(item.rule, item.range and item.range.line) for item in check(parse(text))] == [("UndefinedVar", 6)]


def test_arguments_of_the_client_count() -> None:
    text = "ARG FROM=image\nFROM $FROM\nARG HERE=1\nWORKDIR $HERE"
    assert found(text, arguments={"HERE": "/x"}) == []
    assert found(text, arguments={"FROM": "..."}) == [("WorkdirRelativePath", 4)]


def test_stages_that_are_not_built_are_looked_at_for_their_form_alone() -> None:
    text = "FROM scratch AS A\nUSER $x\nFROM scratch\nUSER $y"
    assert found(text, built=("stage-1",)) == [("StageNameCasing", 1), ("UndefinedVar", 4)]


@pytest.mark.parametrize(
    ("ignored", "source", "message"),
    [
        ("*.log", "COPY a.log b /x/", 'Attempting to Copy file "a.log" that is excluded by .dockerignore'),
        ("a", "ADD ./a/b /x/", 'Attempting to Add file "a/b" that is excluded by .dockerignore'),
        ("*", "COPY . /", 'Attempting to Copy file "." that is excluded by .dockerignore'),
        ("*\n!b", "COPY a /", ""),
        ("*.log", "COPY . /", ""),
        ("**", "ADD https://example.org/a /", ""),
        ("a", "COPY --from=0 a /", ""),
    ],
)
def test_copying_what_is_ignored_is_found(ignored: str, source: str, message: str) -> None:
    warnings = check(parse(f"FROM scratch\nFROM scratch\n{source}"), ignore=Ignore.parse(ignored))
    assert [(item.rule, item.message) for item in warnings] == ([("CopyIgnoredFile", message)] if message else [])


def test_there_are_22_rules_with_their_pages() -> None:
    urls = {rule.name: rule.url.removeprefix("https://docs.docker.com/go/dockerfile/rule/") for rule in RULES}
    assert len(urls) == 22
    assert urls["JSONArgsRecommended"] == "json-args-recommended/"
    assert urls["SecretsUsedInArgOrEnv"] == "secrets-used-in-arg-or-env/"
    assert urls["InvalidBaseImagePlatform"] == ""


LINES = (
    "FROM a AS b",
    "FROM b",
    "from $X",
    "ARG X=${Y",
    "ARG X=$X$X",
    "COPY $a /",
    "CMD x",
    "ENV a=$b",
    "ENV $X=1 b=2",
    "WORKDIR $X",
    "EXPOSE $X/TCP",
    "ONBUILD ENV a=$X",
    'RUN --mount=type=$X,"a x',
    'SHELL ["a"]',
)


@given(
    st.lists(st.sampled_from(LINES), max_size=8), st.dictionaries(st.sampled_from("Xab"), st.text("a/$", max_size=3))
)
def test_checks_never_fail(lines: list[str], arguments: dict[str, str]) -> None:
    try:
        dockerfile = parse("\n".join(lines))
    except DockerfileError:
        return
    check(dockerfile, arguments)


@pytest.mark.parametrize(
    "text",
    [
        "ARG a=12345678\n" + "ARG a=$a$a\n" * 64 + "FROM x:$a\n",
        "FROM scratch\n" + "".join(f"ARG a{n}\n" for n in range(2000)) + "USER $b\n" * 2000,
        "FROM scratch AS s0\n"
        + "".join(f"ARG a{n}\n" for n in range(1000))
        + "".join(f"FROM s{n} AS s{n + 1}\n" for n in range(3000)),
    ],
)
def test_what_doubles_is_bounded(text: str) -> None:
    check(parse(text))
