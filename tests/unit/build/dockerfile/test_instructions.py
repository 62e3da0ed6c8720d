"""Instructions: their flags and words, and what is said of wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from orlop.build.dockerfile import tree
from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.parser import parse, parse_instruction
from orlop.build.dockerfile.tree import Pair, Range

WRONG = {
    "": "file with no instructions",
    "# a\n\n": "file with no instructions",
    "RUN a": "line 1: no build stage in current context",
    "FROM a\nRUNN b": "line 2: unknown instruction: RUNN (did you mean RUN?)",
    "FROM a\nworkdri b": "line 2: unknown instruction: workdri (did you mean workdir?)",
    "FROM a\nPERFORM b": "line 2: unknown instruction: PERFORM",
    "FROM": "line 1: FROM requires either one or three arguments",
    "FROM a b": "line 1: FROM requires either one or three arguments",
    "FROM a in b": "line 1: FROM requires either one or three arguments",
    "FROM a AS 1x": ('line 1: invalid name for build stage: "1x", name can\'t start with a number or contain symbols'),
    "FROM a AS x/y": (
        'line 1: invalid name for build stage: "x/y", name can\'t start with a number or contain symbols'
    ),
    "FROM --platfrom=x a": "line 1: unknown flag: --platfrom (did you mean platform?)",
    "FROM a\nCOPY b": (
        "line 2: COPY requires at least two arguments, but only one was provided. Destination could not be determined"
    ),
    "FROM a\nCOPY --frm=x b c": "line 2: unknown flag: --frm (did you mean from?)",
    "FROM a\nCOPY --checksum=x b c": "line 2: unknown flag: --checksum",
    "FROM a\nCOPY --from b c": "line 2: missing a value on flag: --from",
    "FROM a\nCOPY --from=b --from=c d e": "line 2: duplicate flag specified: --from",
    "FROM a\nCOPY --link --link b c": "line 2: duplicate flag specified: --link",
    "FROM a\nCOPY --link= b c": "line 2: missing a value on flag: --link",
    "FROM a\nCOPY --link=1 b c": "line 2: expecting boolean value for flag --link, not: 1",
    "FROM a\nADD --from=x b c": "line 2: unknown flag: --from",
    "FROM a\nRUN": "line 2: RUN requires at least one argument",
    "FROM a\nRUN --device=gpu b": (
        "line 2: the --device flag of RUN is not supported: steps of builds have no devices"
    ),
    "FROM a\nRUN --network=x b": 'line 2: invalid network mode "x"',
    "FROM a\nRUN --security=x b": 'line 2: security "x" is not valid',
    "FROM a\nCMD --x b": "line 2: unknown flag: --x",
    "FROM a\nCMD [1]": "line 2: when using JSON array syntax, arrays must be comprised of strings only",
    "FROM a\nENV": "line 2: ENV requires at least one argument",
    "FROM a\nENV b": "line 2: ENV must have two arguments",
    "FROM a\nLABEL b": "line 2: LABEL must have two arguments",
    'FROM a\nENV b=c d"e': 'line 2: Syntax error - can\'t find = in "d\\"e". Must be of the form: name=value',
    "FROM a\nENV =b": "line 2: ENV names can not be blank",
    "FROM a\nARG": "line 2: ARG requires at least one argument",
    "FROM a\nARG =b": "line 2: ARG names can not be blank",
    "FROM a\nEXPOSE": "line 2: EXPOSE requires at least one argument",
    "FROM a\nUSER": "line 2: USER requires exactly one argument",
    "FROM a\nWORKDIR": "line 2: WORKDIR requires exactly one argument",
    "FROM a\nSTOPSIGNAL": "line 2: STOPSIGNAL requires exactly one argument",
    "FROM a\nMAINTAINER": "line 2: MAINTAINER requires exactly one argument",
    "FROM a\nVOLUME []": "line 2: VOLUME requires at least one argument",
    'FROM a\nVOLUME [" "]': "line 2: VOLUME specified can not be an empty string",
    "FROM a\nSHELL sh -c": "line 2: SHELL requires the arguments to be in JSON form",
    "FROM a\nSHELL []": "line 2: SHELL requires at least one argument",
    "FROM a\nHEALTHCHECK": "line 2: HEALTHCHECK requires at least one argument",
    "FROM a\nHEALTHCHECK NONE b": "line 2: HEALTHCHECK NONE takes no arguments",
    "FROM a\nHEALTHCHECK http": 'line 2: Unknown type "HTTP" in HEALTHCHECK (try CMD)',
    "FROM a\nHEALTHCHECK CMD []": "line 2: Missing command after HEALTHCHECK CMD",
    "FROM a\nHEALTHCHECK --interval=1 CMD b": 'line 2: time: missing unit in duration "1"',
    "FROM a\nHEALTHCHECK --timeout=1us CMD b": 'line 2: Interval "timeout" cannot be less than 1ms',
    "FROM a\nHEALTHCHECK --retries=x CMD b": 'line 2: strconv.ParseInt: parsing "x": invalid syntax',
    "FROM a\nHEALTHCHECK --retries=-1 CMD b": "line 2: --retries cannot be negative (-1)",
    "FROM a\nHEALTHCHECK --retries=2147483648 CMD b": (
        'line 2: strconv.ParseInt: parsing "2147483648": value out of range'
    ),
    "FROM a\nONBUILD": "line 2: ONBUILD requires at least one argument",
    "FROM a\nONBUILD onbuild RUN b": "line 2: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
    "FROM a\nONBUILD from b": "line 2: FROM isn't allowed as an ONBUILD trigger",
    "FROM a\nONBUILD MAINTAINER b": "line 2: MAINTAINER isn't allowed as an ONBUILD trigger",
    "FROM a\nONBUILD \\\n COPY b": (
        "line 2: COPY requires at least two arguments, but only one was provided. Destination could not be determined"
    ),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_told_with_its_line(text: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text)
    place = "dockerfile parse error on " if WRONG[text].startswith("line ") else ""
    assert str(caught.value) == f"{place}{WRONG[text]}"
    assert caught.value.status == 400


def test_an_error_knows_its_place_and_the_source() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse("FROM a\nCOPY --chown=x \\\n  --form=y b c\n")
    error = caught.value
    assert (error.detail, error.range) == ("unknown flag: --form (did you mean from?)", Range(3, 3, 3))
    assert error.message.startswith("dockerfile parse error on line 2: ")
    assert list(error.lines) == ["FROM a", "COPY --chown=x \\", "  --form=y b c"]


def only(text: str) -> Any:
    return parse(f"FROM a\n{text}").stages[0].instructions[0]


def test_stages_hold_their_instructions_and_arguments_stand_before_them() -> None:
    dockerfile = parse("ARG V=1 W\nfrom --platform=$P a:$V as Base\nRun x\nFROM scratch\n")
    assert [pair for argument in dockerfile.arguments for pair in argument.pairs] == [Pair("V", "1"), Pair("W", None)]
    first, second = dockerfile.stages
    assert (first.name, first.source.base, first.source.platform) == ("base", "a:$V", "$P")
    assert (first.source.as_word, first.source.alias_word) == ("as", "Base")
    assert [(instruction.name, instruction.word) for instruction in first.instructions] == [("run", "Run")]
    assert (second.name, second.source.base, second.instructions) == ("", "scratch", ())
    assert parse("ARG a").stages == ()


def test_flags_of_copy_and_add() -> None:
    copy = only("COPY --from=b --chown=1:2 --chmod=u+x --link --parents=TRUE --exclude=*.o --exclude=c x y /z/")
    assert (copy.from_, copy.chown, copy.chmod, copy.link, copy.parents) == ("b", "1:2", "u+x", True, True)
    assert (copy.exclude, copy.sources, copy.destination) == (("*.o", "c"), ("x", "y"), "/z/")
    add = only("ADD --keep-git-dir=false --unpack --link=false --checksum=sha256:1 x y")
    assert (add.keep_git_dir, add.unpack, add.link, add.checksum) == (False, True, False, "sha256:1")
    assert (only("ADD x y").keep_git_dir, only("ADD x y").unpack) == (None, None)


def test_commands_have_two_forms() -> None:
    run = only('RUN --mount=type=tmpfs,target=/a --mount=target=/b --network=host --security=insecure ["x", "y"]')
    assert (run.words, run.shell, run.network, run.security) == (("x", "y"), False, "host", "insecure")
    assert run.mounts == ("type=tmpfs,target=/a", "target=/b")
    assert (only("CMD x  'y").words, only("CMD x").shell, only("ENTRYPOINT []").words) == (("x  'y",), True, ())
    assert only('SHELL ["sh", "-c"]').words == ("sh", "-c")


def test_a_healthcheck_has_times_and_retries() -> None:
    check = only("HEALTHCHECK --interval=1m30s --timeout=0s --start-period=5ms --retries=+3 CMD a b")
    assert (check.kind, check.words) == ("CMD-SHELL", ("a b",))
    assert (check.interval, check.timeout, check.start_period) == (90_000_000_000, 0, 5_000_000)
    assert (check.start_interval, check.retries) == (None, 3)
    assert only('HEALTHCHECK cmd ["a"]').kind == "CMD"
    assert only("HEALTHCHECK none").kind == "NONE"


def test_pairs_tell_how_they_were_written() -> None:
    assert only("ENV a=b c='d e'").pairs == (Pair("a", "b"), Pair("c", "'d e'"))
    assert only("LABEL a  b c").pairs == (Pair("a", "b c", equals=False),)
    assert only("# a what a is\n# bb no\nARG a b=").pairs == (Pair("a", None, comment="what a is"), Pair("b", ""))


def test_lists_of_words() -> None:
    assert only("EXPOSE 80 443/tcp 22").ports == ("22", "443/tcp", "80")
    assert only('VOLUME ["/a ", "/b"]').paths == ("/a", "/b")
    assert only("STOPSIGNAL 9").signal == "9"


def test_a_trigger_is_read_where_it_is_written_and_where_it_is_used() -> None:
    trigger = only("ONBUILD \\\n  add --link a /b ")
    assert isinstance(trigger.carried, tree.Copy)
    assert (trigger.expression, trigger.carried.original) == ("add --link a /b ", "add --link a /b")
    assert trigger.carried.range == Range(3, 3, 3)
    again = parse_instruction(trigger.expression)
    assert isinstance(again, tree.Copy)
    assert (again.name, again.sources, again.destination, again.link) == ("add", ("a",), "/b", True)


@pytest.mark.parametrize("text", ["FROM a", "MAINTAINER a", "ONBUILD RUN a", "RUN a\nRUN b", "", "RUNN"])
def test_what_cannot_be_a_trigger_is_refused(text: str) -> None:
    with pytest.raises(DockerfileError):
        parse_instruction(text)
