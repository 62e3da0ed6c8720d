"""The instructions that hold a command: RUN, CMD, ENTRYPOINT, SHELL and HEALTHCHECK."""

from __future__ import annotations

import re

from orlop.build.dockerfile import tree
from orlop.build.dockerfile.flags import FlagValues, read_flags
from orlop.build.dockerfile.parts import common, some
from orlop.build.dockerfile.statement import Statement
from orlop.errors import InvalidArgument
from orlop.formats.duration import parse_duration
from orlop.formats.template import go_quote

__all__ = ["command", "healthcheck", "run", "shell"]

_NETWORKS = ("default", "none", "host")
_SECURITIES = ("sandbox", "insecure")
_TIMES = ("interval", "timeout", "start-period", "start-interval")
_SHORTEST = 1_000_000  # ns
_LONGEST_TIME = 1000  # characters: what is read of a time, so that reading stays linear
_MOST_RETRIES = 2**31 - 1


def run(statement: Statement) -> tree.Run:
    flags = read_flags(statement, ("network", "security"), ("mount", "device"))
    words = some(statement)
    if flags.texts("device"):
        raise statement.error("the --device flag of RUN is not supported: steps of builds have no devices")
    for name, known, message in (
        ("network", _NETWORKS, "invalid network mode {}"),
        ("security", _SECURITIES, "security {} is not valid"),
    ):
        value = flags.text(name)
        if flags.texts(name) and value not in known:
            raise statement.error(message.format(go_quote(value)))
    return tree.Run(
        **common(statement),
        words=words,
        shell=not statement.json,
        mounts=flags.texts("mount"),
        network=flags.text("network"),
        security=flags.text("security"),
    )


def command(statement: Statement) -> tree.Command:
    read_flags(statement)
    return tree.Command(**common(statement), words=statement.arguments, shell=not statement.json)


def shell(statement: Statement) -> tree.Shell:
    read_flags(statement)
    words = some(statement)
    if not statement.json:
        raise statement.error("SHELL requires the arguments to be in JSON form")
    return tree.Shell(**common(statement), words=words)


def healthcheck(statement: Statement) -> tree.Healthcheck:
    kind, *words = some(statement)
    kind = kind.upper()
    if kind == "NONE":
        if words:
            raise statement.error("HEALTHCHECK NONE takes no arguments")
        return tree.Healthcheck(**common(statement), kind=kind)
    flags = read_flags(statement, (*_TIMES, "retries"))
    if kind != "CMD":
        raise statement.error(f"Unknown type {go_quote(kind)} in HEALTHCHECK (try CMD)")
    if not words:
        raise statement.error("Missing command after HEALTHCHECK CMD")
    interval, timeout, start_period, start_interval = (_time(statement, flags, name) for name in _TIMES)
    return tree.Healthcheck(
        **common(statement),
        kind="CMD" if statement.json else "CMD-SHELL",
        words=tuple(words),
        interval=interval,
        timeout=timeout,
        start_period=start_period,
        start_interval=start_interval,
        retries=_retries(statement, flags),
    )


def _time(statement: Statement, flags: FlagValues, name: str) -> int | None:
    text = flags.text(name)
    if not text:
        return None
    try:
        value = parse_duration(text[:_LONGEST_TIME])
    except InvalidArgument as error:
        raise statement.error(error.message) from None
    if value != 0 and value < _SHORTEST:
        raise statement.error(f"Interval {go_quote(name)} cannot be less than 1ms")
    return value


def _retries(statement: Statement, flags: FlagValues) -> int | None:
    text = flags.text("retries")
    if not text:
        return None
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise statement.error(f"strconv.ParseInt: parsing {go_quote(text)}: invalid syntax")
    digits = text.lstrip("+-0") or "0"
    if len(digits) > 10 or int(digits) > _MOST_RETRIES + text.startswith("-"):
        raise statement.error(f"strconv.ParseInt: parsing {go_quote(text)}: value out of range")
    if text.startswith("-") and digits != "0":
        raise statement.error(f"--retries cannot be negative (-{digits})")
    return int(digits)
