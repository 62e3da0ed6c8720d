"""Lines put together: continuations, comments, escapes, and where everything stands."""

from __future__ import annotations

import pytest

from orlop.build.dockerfile import dump
from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.parser import parse
from orlop.build.dockerfile.tree import Range, Run

JOINED = {
    "RUN a\\\nb": "ab",
    "RUN a \\\n   b\\  \t\nc": "a    bc",
    "RUN a \\\r\n b\r\n": "a  b",
    "RUN a\\\\\nUSER b": "a\\\\",
    "RUN a \\\n# no\n  # neither\n\n b": "a  b",
    "RUN a \\\n\\\n\\\nb": "a b",
    "RUN a # b": "a # b",
    "RUN a \\": "a",
    "\\\n RUN a": "a",
    "RUN a \\\n  RUN b": "a   RUN b",
    "\ufeff  RUN a": "a",
}


@pytest.mark.parametrize("text", JOINED)
def test_lines_are_joined(text: str) -> None:
    assert dump(text).partition("\n")[0] == dump(f"RUN {JOINED[text]}")


def test_another_escape_joins_and_the_usual_one_does_not() -> None:
    assert dump('# escape=`\nRUN a `\n b c:\\\nENV d=e`" f=g') == (
        '(run "a  b c:\\\\")\n(env "d" "e`\\"" "=" "f" "g" "=")'
    )


def test_everything_knows_its_place() -> None:
    dockerfile = parse("\n  FROM a\n# one\n#two\n\nRUN --network=none \\\n\\\n  --mount=type=tmpfs,target=/x b\n")
    run = dockerfile.stages[0].instructions[0]
    assert isinstance(run, Run)
    assert dockerfile.stages[0].source.range == Range(2, 2, 3)
    assert (run.range, run.comment) == (Range(6, 8), "one\ntwo")
    assert [flag.range for flag in run.flags] == [Range(6, 6, 5), Range(8, 8, 3)]


def test_a_comment_belongs_to_what_follows_it() -> None:
    source = parse("# far\n#\n# base for all\nFROM a AS base\nRUN b").stages[0]
    assert (source.source.comment, source.instructions[0].comment) == ("base for all", "")


def test_an_empty_line_in_a_continuation_warns() -> None:
    (warning,) = parse("FROM a\nRUN b \\\n\n   \n c\nRUN d\n").warnings
    assert (warning.rule, warning.message) == ("NoEmptyContinuation", "Empty continuation line")
    assert warning.range == Range(5, 5)


def test_what_is_no_utf_8_is_replaced() -> None:
    run = parse(b"FROM a\nRUN echo \xff").stages[0].instructions[0]
    assert isinstance(run, Run)
    assert run.words == ("echo \ufffd",)
    assert parse("FROM a\nRUN \udcff").stages[0].instructions[0].original == "RUN \ufffd"


def test_the_longest_line_has_64_kib_less_one() -> None:
    parse("FROM a\nRUN " + "x" * (65_535 - 4))
    with pytest.raises(DockerfileError, match="line 2: dockerfile line greater than max allowed size of 65535"):
        parse("FROM a\nRUN " + "é" * 32_766)
