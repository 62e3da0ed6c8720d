"""The checks, one by one, and that what is all right is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.build.dockerfile.check import check
from orlop.build.dockerfile.check.checker import wrong_platform
from orlop.build.dockerfile.check.rule import RULES
from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.outline import outline, targets
from orlop.build.dockerfile.parser import parse
from orlop.formats.ignore import Ignore


def found(text: str, **options: object) -> list[tuple[str, int]]:
    warnings = check(parse(text), **options)  # type: ignore[arg-type]
    return [(item.rule, item.range.line if item.range else 0) for item in warnings]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM scratch AS Base", [("StageNameCasing", 1)]),
        ("FROM scratch as base", [("FromAsCasing", 1)]),
        ("from scratch as base", []),
        ("FROM scratch\nRUN a \\\n\n b", [("NoEmptyContinuation", 4)]),
        ("FROM scratch\nCOPY a /\nworkdir /x", [("ConsistentInstructionCasing", 3)]),
        ("FROM scratch AS a\nFROM scratch AS a", [("DuplicateStageName", 2)]),
        ("FROM scratch AS context", [("ReservedStageName", 1)]),
        ("FROM scratch\nCMD run it", [("JSONArgsRecommended", 2)]),
        ('FROM scratch\nSHELL ["a"]\nCMD run it', []),
        ("FROM scratch\nMAINTAINER me", [("MaintainerDeprecated", 2)]),
        ("ARG VERSION=1\nFROM base:${VERSIO}", [("UndefinedArgInFrom", 2), ("InvalidDefaultArgInFrom", 2)]),
        ("ARG VERSION\nFROM base:$VERSION", [("InvalidDefaultArgInFrom", 2)]),
        ("ARG VERSION=1\nFROM base:$VERSION", []),
        ("FROM scratch\nWORKDIR x", [("WorkdirRelativePath", 2)]),
        ("FROM scratch\nWORKDIR /y\nWORKDIR x", []),
        ("FROM scratch\nCOPY $where /", [("UndefinedVar", 2)]),
        ("FROM scratch\nARG where\nCOPY $where ${PATH} /", []),
        ("FROM scratch\nCOPY ${where:-x} /", []),
        ('FROM scratch\nCMD ["a"]\nCMD ["b"]', [("MultipleInstructionsDisallowed", 2)]),
        ("FROM scratch\nENV a b", [("LegacyKeyValueFormat", 2)]),
        ("FROM --platform=$TARGETPLATFORM scratch", [("RedundantTargetPlatform", 1)]),
        ("FROM --platform=linux/amd64 scratch", [("FromPlatformFlagConstDisallowed", 1)]),
        ("FROM --platform=$BUILDPLATFORM scratch", []),
        ("FROM scratch\nENV DB_PASSWORD=x PUBLIC_KEY=y", [("SecretsUsedInArgOrEnv", 2)]),
        ("FROM scratch\nARG API_TOKEN", [("SecretsUsedInArgOrEnv", 2)]),
        ("FROM scratch\nEXPOSE 80/TCP", [("ExposeProtoCasing", 2)]),
        ("FROM scratch\nEXPOSE 127.0.0.1:80:80", [("ExposeInvalidFormat", 2)]),
        ("# check=skip=JSONArgsRecommended\nFROM scratch\nCMD a", []),
        ("# check=skip=all\nFROM scratch AS A\nCMD a", []),
    ],
)
def test_each_rule_is_found_where_it_is_broken(text: str, expected: list[tuple[str, int]]) -> None:
    assert found(text) == expected


def test_rules_that_need_more_than_the_text() -> None:
    ignored = "FROM scratch\nCOPY a.log b /x/"
    assert found(ignored, ignore=Ignore.parse("*.log")) == [("CopyIgnoredFile", 2)]
    described = "# wrong words\nARG A=1\nFROM scratch"
    assert found(described, experimental=True) == [("InvalidDefinitionDescription", 2)]
    assert found(described) == []
    variables = "FROM busybox\nCOPY $HOME $HOMER /"
    assert found(variables) == []
    assert found(variables, environments={"busybox": ("HOME",)}) == [("UndefinedVar", 2)]
    (warning,) = check(parse(variables), environments={"busybox": ("HOME",)})
    assert warning.message == "Usage of undefined variable '$HOMER' (did you mean $HOME?)"
    assert wrong_platform("a", "linux/amd64", "linux/arm64", 3).rule == "InvalidBaseImagePlatform"


def test_there_are_22_rules_with_their_pages() -> None:
    assert len(RULES) == 22
    assert RULES["JSONArgsRecommended"].url.endswith("/rule/json-args-recommended/")
    assert RULES["SecretsUsedInArgOrEnv"].url.endswith("/rule/secrets-used-in-arg-or-env/")
    assert RULES["FromAsCasing"].url.endswith("/rule/from-as-casing/")


@given(
    st.lists(
        st.sampled_from(("FROM a AS b", "from $X", "ARG X=${Y", "COPY $a /", "CMD x", "ENV a=$b", "WORKDIR ")),
        max_size=6,
    )
)
def test_checks_never_fail(lines: list[str]) -> None:
    try:
        dockerfile = parse("\n".join(lines))
    except DockerfileError:
        return
    check(dockerfile)


TEXT = """\
ARG VERSION=1
# unused is not
ARG UNUSED
FROM base:$VERSION AS tools
RUN --mount=type=cache,target=/root/.cache make
# app is the program
FROM scratch AS app
# PORT where it listens
ARG PORT=80
COPY --from=tools /bin/x /
RUN --mount=type=secret,id=token,required=true x
FROM scratch AS other
"""


def test_targets_are_the_stages() -> None:
    shown = [
        (item["name"], item.get("default", False), item.get("description", ""))
        for item in targets(parse(TEXT))["targets"]
    ]
    assert shown == [("tools", False, ""), ("app", False, "is the program"), ("other", True, "")]


def test_an_outline_has_what_a_target_takes() -> None:
    found = outline(parse(TEXT), "app")
    assert (found["name"], found["description"]) == ("app", "is the program")
    assert [(item["name"], item.get("value")) for item in found["args"]] == [("VERSION", "1"), ("PORT", "80")]
    assert found["args"][1]["description"] == "where it listens"
    assert found["secrets"] == [{"name": "token", "line": 11, "required": True}]
    assert found["cache"] == [{"id": "/root/.cache", "target": "/root/.cache", "line": 5}]
    with pytest.raises(DockerfileError, match="did you mean app"):
        outline(parse(TEXT), "apq")
