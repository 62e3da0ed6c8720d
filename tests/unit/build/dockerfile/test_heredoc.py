"""Heredocs: what begins one, what it holds, and where none is."""

from __future__ import annotations

import pytest

from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.heredoc import Opening, opening, openings
from orlop.build.dockerfile.parser import parse, parse_instruction
from orlop.build.dockerfile.tree import Copy, Heredoc, Instruction, OnBuild, Range, Run

OPENINGS = {
    "<<EOF": Opening("EOF", True, False, 0),
    "<<-EOF": Opening("EOF", True, True, 0),
    "3<<'E F'": Opening("E F", False, False, 3),
    '<<E"O"F': Opening("EOF", False, False, 0),
    "<<\\EOF": Opening("EOF", True, False, 0),
    "<<$X": Opening("$X", True, False, 0),
    '<<"\\$\\a"': Opening("$\\a", False, False, 0),
    "<< EOF": Opening("EOF", True, False, 0),
    "99999999999999999999999<<A": Opening("A", True, False, 2**64 - 1),
    "<<": None,
    "<<-": None,
    "<<<EOF": None,
    "<<''": None,
    "a<<EOF": None,
    "<<'EOF": None,
    "<EOF": None,
}


@pytest.mark.parametrize("word", OPENINGS)
def test_a_word_begins_a_heredoc_or_does_not(word: str) -> None:
    assert opening(word) == OPENINGS[word]


NAMES = {
    "RUN cat <<A && cat 2<<'B' >x": ["A", "B"],
    "RUN a <<  A b": ["A"],
    "RUN echo '<<A' \"<<B\" \\<<C": [],
    "RUN echo ${x:-<<A}${y/a b/<<B} <<C": ["C"],
    "RUN echo $x$$ $1<<A": [],
    "RUN echo it's <<A": [],
    'RUN echo "${x" <<A': [],
    "RUN echo ${} <<A": [],
    "RUN echo ${x!} <<A": [],
    "RUN cat<<A": [],
    "RUN ((x<<2))": [],
}


@pytest.mark.parametrize("line", NAMES)
def test_only_words_of_a_shell_begin_heredocs(line: str) -> None:
    assert [found.name for found in openings(line)] == NAMES[line]


def instruction(text: str) -> Instruction:
    (found,) = parse(f"FROM a\n{text}").stages[0].instructions
    return found


def test_a_script_is_kept_behind_its_line() -> None:
    run = instruction("RUN <<EOF\n#!/bin/sh\n\n# kept \\\n\tEOF\nEOF\n")
    assert isinstance(run, Run)
    text = "#!/bin/sh\n\n# kept \\\n\tEOF\n"
    assert run.words == ("<<EOF",)
    assert run.range == Range(2, 7)
    assert run.heredocs == (Heredoc("EOF", text, True, Range(3, 7), 0, text),)


def test_a_minus_takes_the_tabs_away() -> None:
    (heredoc,) = instruction("RUN cat <<-EOF\n\t\ta\n \tb\n\tEOF").heredocs
    assert (heredoc.text, heredoc.raw) == ("a\n \tb\n", "\t\ta\n \tb\n")


def test_heredocs_are_sources_in_their_order() -> None:
    copy = instruction('COPY --chmod=755 <<b.sh x <<"a.sh" /bin/\n1\nb.sh\n$2\na.sh\n')
    assert isinstance(copy, Copy)
    assert (copy.sources, copy.destination) == (("x",), "/bin/")
    assert [(heredoc.name, heredoc.text, heredoc.expand) for heredoc in copy.heredocs] == [
        ("b.sh", "1\n", True),
        ("a.sh", "$2\n", False),
    ]


def test_carriage_returns_are_kept_but_in_the_last_line() -> None:
    assert instruction("RUN <<EOF\r\na\r\nEOF\r\n").heredocs[0].text == "a\r\n"


def test_a_trigger_takes_its_heredocs_along() -> None:
    found = instruction("ONBUILD RUN <<-A <<B\n\t1\nA\n2\nB\n")
    assert isinstance(found, OnBuild)
    assert found.expression == "RUN <<-A <<B\n\t1\nA\n2\nB"
    assert [heredoc.text for heredoc in found.carried.heredocs] == ["1\n", "2\n"]
    again = parse_instruction(found.expression)
    assert [heredoc.text for heredoc in again.heredocs] == ["1\n", "2\n"]


@pytest.mark.parametrize("text", ["CMD cat <<EOF", 'RUN ["cat", "<<EOF"]', "USER <<EOF", "ENV a=<<EOF"])
def test_only_run_copy_and_add_have_heredocs(text: str) -> None:
    assert instruction(text).heredocs == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RUN <<EOF\na\nEOF x", "line 2: unterminated heredoc"),
        ("COPY <<A <<B /x\na\nA\nb", "line 2: unterminated heredoc"),
        ("COPY a <<EOF\nEOF", "line 2: COPY cannot accept a heredoc as a destination"),
        ("COPY <<EOF /it's\na\nEOF", "line 2: heredoc <<EOF does not begin"),
    ],
)
def test_a_heredoc_that_is_wrong_is_refused(text: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message):
        instruction(text)
