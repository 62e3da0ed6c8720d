"""Time as Docker's clients write it: Go durations, timestamps of ``since`` and ``until``, RFC 3339.

All times are integers in nanoseconds: since the epoch, UTC, or of a span.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fractions import Fraction

from orlop.errors import InvalidArgument

__all__ = [
    "SECOND",
    "format_duration",
    "format_rfc3339",
    "parse_duration",
    "parse_rfc3339",
    "parse_time",
    "parse_unix",
]

SECOND = 1_000_000_000

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # micro sign
    "μs": 1_000,  # Greek mu
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_MAX = 2**63 - 1
_TERM = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?"
    r"(Z|z|[+-]\d\d:\d\d)?",
    re.ASCII,
)


def parse_duration(text: str) -> int:
    """Return the nanoseconds of a Go duration: ``1h30m``, ``1.5s``, ``-5ms``, ``0`` (``time.ParseDuration``)."""
    rest, sign = text, 1
    if rest[:1] in ("+", "-"):
        sign = -1 if rest[0] == "-" else 1
        rest = rest[1:]
    if rest == "0":
        return 0
    if not rest:
        raise InvalidArgument(f'time: invalid duration "{text}"')
    total = Fraction(0)
    while rest:
        term = _TERM.match(rest)
        assert term is not None  # every part of the pattern may be empty
        whole, fraction, unit = term[1], term[2] or "", term[3]
        if not whole and not fraction:
            raise InvalidArgument(f'time: invalid duration "{text}"')
        if not unit:
            raise InvalidArgument(f'time: missing unit in duration "{text}"')
        if unit not in _UNITS:
            raise InvalidArgument(f'time: unknown unit "{unit}" in duration "{text}"')
        if len(whole) > 19:
            raise InvalidArgument(f'time: invalid duration "{text}"')
        fraction = fraction[:18]  # what lies behind is below a nanosecond in every unit
        total += Fraction(int((whole + fraction) or "0"), 10 ** len(fraction)) * _UNITS[unit]
        rest = rest[term.end() :]
    if total > _MAX:
        raise InvalidArgument(f'time: invalid duration "{text}"')
    return sign * int(total)


def format_duration(ns: int) -> str:
    """Return a span as Go prints it: ``1h30m0s``, ``1.5s``, ``250ms``, ``0s`` (``time.Duration.String``)."""
    if ns == 0:
        return "0s"
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    if ns < SECOND:
        unit, size = next((unit, size) for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)) if ns >= size)
        return f"{sign}{_decimal(ns, size)}{unit}"
    minutes, rest = divmod(ns, 60 * SECOND)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{head}{_decimal(rest, SECOND)}s"


def parse_unix(text: str) -> int:
    """Return the time of ``seconds[.nanoseconds]``, the form in which clients send ``since`` and ``until``."""
    whole, _, fraction = text.partition(".")
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", whole):
        raise InvalidArgument(f'strconv.ParseInt: parsing "{whole}": invalid syntax')
    if fraction and not re.fullmatch(r"[0-9]+", fraction):
        raise InvalidArgument(f'strconv.ParseInt: parsing "{fraction}": invalid syntax')
    return int(whole) * SECOND + int(fraction[:9].ljust(9, "0"))


def parse_rfc3339(text: str) -> int:
    """Return the time of an RFC 3339 date or date and time, also without seconds, minutes, hours or zone.

    A time without zone is one of this machine's.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise InvalidArgument(f'parsing time "{text}": invalid format')
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))
        if zone is None:
            moment = moment.astimezone()
        else:
            moment = datetime.fromisoformat(f"{moment.isoformat()}{'+00:00' if zone in 'Zz' else zone}")
        seconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    except (ValueError, OverflowError, OSError):
        raise InvalidArgument(f'parsing time "{text}": out of range') from None
    return seconds * SECOND + int((fraction or "").ljust(9, "0"))


def parse_time(text: str, now: int) -> int:
    """Return the time that a person means: a Go duration before `now`, an RFC 3339 time or Unix seconds."""
    if text != "0":
        try:
            return now - parse_duration(text)
        except InvalidArgument:
            pass  # one of the other forms
    if "-" in text:
        return parse_rfc3339(text)
    try:
        return parse_unix(text)
    except InvalidArgument:
        raise InvalidArgument(f'failed to parse value as time or duration: "{text}"') from None


def format_rfc3339(ns: int) -> str:
    """Return a time as Go's ``RFC3339Nano`` in UTC; 0, which means never, as Go's zero time."""
    if ns == 0:
        return "0001-01-01T00:00:00Z"
    seconds, rest = divmod(ns, SECOND)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def _decimal(value: int, unit: int) -> str:
    """Return ``value / unit`` without trailing zeros; `unit` is a power of ten."""
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    return f"{whole}.{rest:0{len(str(unit)) - 1}d}".rstrip("0")
