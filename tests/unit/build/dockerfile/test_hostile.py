"""Text that was made to break the parser."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.build.dockerfile import dump
from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.parser import parse, parse_instruction
from orlop.build.dockerfile.tree import Run

MIB = 1 << 20

_PIECES = (
    *("FROM a", "RUN ", "COPY ", "ADD ", "ENV ", "ARG ", "ONBUILD ", "CMD ", "HEALTHCHECK ", "SHELL ", "VOLUME "),
    *("\n", "\\\n", "\r\n", " ", "\t", "#", "# escape=`", "# check=", "# syntax=", "`", "--", "--link", "--x=", "="),
    *("<<A", "<<-'A'", "A\n", "'", '"', "\\", "$", "${", "}", "[", "]", '["a",', "{", "1", ":", "/", "NONE", "AS "),
)
dockerfiles = st.lists(st.sampled_from(_PIECES) | st.text(max_size=4), max_size=40).map("".join)


@given(dockerfiles | st.text() | st.binary())
def test_any_text_is_parsed_or_refused(text: str | bytes) -> None:
    for read in (parse, dump):
        with contextlib.suppress(DockerfileError):
            read(text)


@given(dockerfiles)
def test_any_trigger_is_parsed_or_refused(text: str) -> None:
    for escape in "\\`":
        with contextlib.suppress(DockerfileError):
            parse_instruction(text, escape=escape)


@given(dockerfiles)
def test_places_are_in_the_source(text: str) -> None:
    try:
        dockerfile = parse(text)
    except DockerfileError as error:
        ranges = [error.range] if error.range is not None and error.lines else []
        count = len(error.lines)
    else:
        instructions = [item for stage in dockerfile.stages for item in (stage.source, *stage.instructions)]
        ranges = [place for item in instructions for place in (item.range, *(flag.range for flag in item.flags))]
        count = len(dockerfile.lines)
    assert all(1 <= place.line <= place.end <= count and place.column >= 1 for place in ranges)


@given(st.lists(st.text("ab \\\"'$<[]#=-", min_size=1, max_size=12), min_size=1, max_size=6))
def test_a_command_is_the_same_on_one_line_and_on_several(parts: list[str]) -> None:
    parts = [part.rstrip("\\ ").lstrip("#") or "x" for part in parts]
    whole = "x " + "".join(parts)
    try:
        one = parse(f"FROM a\nRUN {whole}").stages[0].instructions[0]
    except DockerfileError:
        return
    if any(part.lstrip().startswith("#") for part in parts) or not all(part.strip() for part in parts):
        return
    several = parse("FROM a\nRUN x " + "\\\n".join(parts)).stages[0].instructions[0]
    assert isinstance(one, Run)
    assert isinstance(several, Run)
    assert one.words == several.words


def continued(head: str, piece: str, size: int = MIB) -> str:
    """Return an instruction of `size` characters on lines that are not too long."""
    line = piece * (60_000 // len(piece)) + "\\\n"
    return f"FROM a\n{head}{line * (size // len(line))}x"


@pytest.mark.parametrize(
    "text",
    [
        continued('ENV a="', "\\a"),
        continued("ENV ", "a=' '"),
        continued("COPY ", "--exclude='a' "),
        continued("COPY ", "["),
        continued("COPY [", '"",'),
        continued("RUN <<A", "${a:-"),
        continued("RUN <<A", "<"),
        continued("RUN <<", "\\a"),
        continued("RUN ", "1"),
        continued("", "ONBUILD "),
        continued("HEALTHCHECK --interval=", "1s"),
        continued("", "# a\\"),
        "# a\n" * 100_000 + continued("ARG ", "a "),
        "#escape=" + "a " * 30_000,
        "RUN " + "\\\n" * 200_000,
        "\n" * MIB,
    ],
    ids=lambda text: text.replace("\n", " ")[:24],
)
def test_no_form_takes_more_than_linear_time(text: str) -> None:
    for read in (parse, dump):
        with contextlib.suppress(DockerfileError):
            read(text)


def test_many_stages_are_parsed() -> None:
    text = "".join(f"FROM a AS s{number}\n" for number in range(100_000))
    assert parse(text).stages[-1].name == "s99999"


def test_a_line_of_100_mb_is_refused() -> None:
    for text in ("FROM a\nRUN " + "x" * (100 * MIB), b"FROM a\nRUN " + b"x" * (100 * MIB)):
        with pytest.raises(DockerfileError, match="line 2: dockerfile line greater than max allowed size of 65535"):
            parse(text)


def test_a_file_of_more_than_16_mi_characters_is_refused() -> None:
    with pytest.raises(DockerfileError, match="dockerfile greater than max allowed size of 16777216"):
        parse("# a\n" * (4 * MIB + 1))


def test_a_message_is_not_as_long_as_what_it_is_about() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse("FROM a\nENV a=b " + "x" * 60_000)
    assert len(str(caught.value)) < 5000
