from __future__ import annotations

from typing import Any

import pytest

from orlop.daemon.flags import Flag, parse
from orlop.daemon.table import BY_KEY, DEFAULTS, FLAGS
from orlop.errors import InvalidArgument

TABLE = (
    Flag("debug", "bool", short="D"),
    Flag("host", "list", short="H"),
    Flag("log-level", short="l"),
    Flag("mtu", "int"),
    Flag("tls", "bool"),
)


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("", {}),
        ("--debug", {"debug": True}),
        ("--debug=false --tls=T", {"debug": False, "tls": True}),
        ("-D", {"debug": True}),
        ("-D=false", {"debug": False}),
        ("--log-level warn", {"log-level": "warn"}),
        ("--log-level=a=b", {"log-level": "a=b"}),
        ("-l warn", {"log-level": "warn"}),
        ("-lwarn", {"log-level": "warn"}),
        ("-l=warn", {"log-level": "warn"}),
        ("-Dlwarn", {"debug": True, "log-level": "warn"}),
        ("-Dl warn", {"debug": True, "log-level": "warn"}),
        ("-H a --host b --host=c", {"host": ["a", "b", "c"]}),
        ("--mtu 0x10", {"mtu": 16}),
        ("--mtu=-1", {"mtu": -1}),
        ("--log-level a --log-level b", {"log-level": "b"}),
    ],
)
def test_flags_are_read_as_pflag_does(line: str, values: dict[str, Any]) -> None:
    assert parse(line.split(), TABLE) == (values, [])


def test_a_truth_value_does_not_take_the_next_word() -> None:
    assert parse(["--tls", "false", "--", "--debug", "-"], TABLE) == ({"tls": True}, ["false", "--debug", "-"])


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--bogus", "unknown flag: --bogus"),
        ("--bogus=1", "unknown flag: --bogus"),
        ("-Dx", "unknown shorthand flag: 'x' in -Dx"),
        ("--host", "flag needs an argument: --host"),
        ("-DH", "flag needs an argument: 'H' in -DH"),
        ("--=x", "bad flag syntax: --=x"),
        (
            "--tls=maybe",
            'invalid argument "maybe" for "--tls" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        ("-D=x", 'invalid argument "x" for "-D, --debug" flag: strconv.ParseBool: parsing "x": invalid syntax'),
        ("--mtu big", 'invalid argument "big" for "--mtu" flag: strconv.ParseInt: parsing "big": invalid syntax'),
    ],
)
def test_errors_have_pflags_texts(line: str, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(line.split(), TABLE)
    assert caught.value.message == text


def test_no_name_stands_twice_in_the_table_and_every_flag_is_explained() -> None:
    assert len({flag.name for flag in FLAGS}) == len(FLAGS)
    shorts = [flag.short for flag in FLAGS if flag.short]
    assert len(set(shorts)) == len(shorts)
    assert len(BY_KEY) == sum(flag.file_key is not None for flag in FLAGS)
    assert all(flag.usage or flag.lacks for flag in FLAGS)
    assert set(DEFAULTS) <= {flag.name for flag in FLAGS}
