"""Flags in the grammar of docker's client."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.cli.flags import BOOL, INT, LIST, MAP, STRING, UINT16, Flag, FlagError, Options, parse_arguments
from orlop.cli.kinds import BYTES, DECIMAL, DURATION, FILTER, SWAP

FLAGS = (
    Flag("all", "a", BOOL, ""),
    Flag("interactive", "i", BOOL, ""),
    Flag("proxy", "", BOOL, "", "true"),
    Flag("name", "n", STRING, "", "none"),
    Flag("env", "e", LIST, ""),
    Flag("opt", "o", MAP, ""),
    Flag("number", "", INT, "", "-1"),
    Flag("weight", "", UINT16, ""),
    Flag("filter", "f", FILTER, ""),
    Flag("memory", "m", BYTES, ""),
    Flag("swap", "", SWAP, ""),
    Flag("cpus", "", DECIMAL, ""),
    Flag("every", "", DURATION, ""),
    Flag("*old-name", "", STRING, "", store="name"),
)


def parse(*words: str, interspersed: bool = True) -> tuple[Options, list[str]]:
    return parse_arguments(FLAGS, words, interspersed=interspersed)


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ([], "proxy", True),
        ([], "name", "none"),
        ([], "number", -1),
        (["--proxy=false"], "proxy", False),
        (["-ai"], "interactive", True),
        (["-a=0"], "all", False),
        (["-aixy"], "all", None),
        (["-nx"], "name", "x"),
        (["-n=x"], "name", "x"),
        (["-n", "-x"], "name", "-x"),
        (["--name", ""], "name", ""),
        (["--name=a=b"], "name", "a=b"),
        (["--old-name", "x"], "name", "x"),
        (["-e", "A", "-eB=1", "--env=C"], "env", ["A", "B=1", "C"]),
        (["-o", "a=b=c", "-o", "d"], "opt", {"a": "b=c", "d": ""}),
        (["--number", "0x10"], "number", 16),
        (["--number", "010"], "number", 8),
        (["-f", "Label = x=y ", "-f", "label=z"], "filter", {"label": ["x=y", "z"]}),
        (["-m", "1.5k"], "memory", 1536),
        (["-m", "5 MiB"], "memory", 5 << 20),
        (["--swap", "-1"], "swap", -1),
        (["--cpus", "1.5"], "cpus", 1_500_000_000),
        (["--cpus", "1/2"], "cpus", 500_000_000),
        (["--every", "1m1.5s"], "every", 61_500_000_000),
    ],
)
def test_values(words: list[str], name: str, value: object) -> None:
    if value is None:
        with pytest.raises(FlagError, match="unknown shorthand flag: 'x' in -xy"):
            parse(*words)
        return
    options, rest = parse(*words)
    assert getattr(options, name) == value
    assert rest == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bogus"], "unknown flag: --bogus"),
        (["-ax"], "unknown shorthand flag: 'x' in -x"),
        (["--name"], "flag needs an argument: --name"),
        (["-an"], "flag needs an argument: 'n' in -n"),
        (["--all=x"], 'invalid argument "x" for "-a, --all" flag: strconv.ParseBool: parsing "x": invalid syntax'),
        (
            ["--weight", "70000"],
            'invalid argument "70000" for "--weight" flag: strconv.ParseUint: parsing "70000": value out of range',
        ),
        (
            ["--number", "1.5"],
            'invalid argument "1.5" for "--number" flag: strconv.ParseInt: parsing "1.5": invalid syntax',
        ),
        (["-f", "x"], 'invalid argument "x" for "-f, --filter" flag: bad format of filter (expected name=value)'),
        (["--=x"], "bad flag syntax: --=x"),
    ],
)
def test_mistakes(words: list[str], message: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse(*words)
    assert str(caught.value) == message


def test_arguments_and_flags_may_be_mixed_unless_the_command_forbids_it() -> None:
    options, rest = parse("a", "-a", "b", "--", "-i", "--")
    assert (options.all, options.interactive, rest) == (True, False, ["a", "b", "-i", "--"])
    options, rest = parse("-i", "a", "-a", "--", interspersed=False)
    assert (options.all, options.interactive, rest) == (False, True, ["a", "-a", "--"])
    assert parse("-", "")[1] == ["-", ""]


def test_options_know_what_was_given() -> None:
    options, _ = parse("--proxy=true", "--old-name", "x")
    assert options.given("proxy")
    assert options.given("old-name")
    assert not options.given("all")
    assert options.any_given
    assert not parse()[0].any_given


@given(st.lists(st.text(max_size=6), max_size=6), st.booleans())
def test_any_words_are_parsed_or_refused(words: list[str], interspersed: bool) -> None:
    try:
        parse(*words, interspersed=interspersed)
    except FlagError:
        pass


@given(st.text())
def test_a_value_behind_an_equals_sign_is_taken_as_it_is(text: str) -> None:
    assert parse(f"--name={text}")[0].name == text
