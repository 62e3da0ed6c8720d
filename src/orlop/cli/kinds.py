"""Kinds of flags that more than one command has."""

from __future__ import annotations

import re
from typing import Any

from orlop.cli.flags import Kind

__all__ = ["BYTES", "DECIMAL", "DURATION", "FILTER", "SWAP", "Filters", "ram_bytes"]

Filters = dict[str, list[str]]

_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_FLOAT = re.compile(r"[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\Z")


def ram_bytes(text: str) -> int:
    """Return a size with an optional binary unit ("64m", "1.5GiB") in bytes; ValueError has docker's message."""
    last = max((text.rfind(char) for char in "0123456789. "), default=-1)
    if last < 0:
        raise ValueError(f"invalid size: '{text}'")
    number = text[:last] if text[last] == " " else text[: last + 1]
    suffix = text[last + 1 :].lower()
    if not _FLOAT.match(number):
        from orlop.formats.template import go_quote

        raise ValueError(f"strconv.ParseFloat: parsing {go_quote(number)}: invalid syntax")
    size = float(number)
    if size < 0:
        raise ValueError(f"invalid size: '{text}'")
    if suffix in ("", "b"):
        return int(size)
    if suffix[0] not in _UNITS or suffix[1:] not in ("", "b", "ib"):
        raise ValueError(f"invalid suffix: '{suffix}'")
    return int(size * _UNITS[suffix[0]])


def _swap(_: Any, text: str) -> int:
    return -1 if text == "-1" else ram_bytes(text)


def _nano_cpus(_: Any, text: str) -> int:
    from fractions import Fraction

    try:
        nano = Fraction(text.replace("_", "")) * 1_000_000_000
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"failed to parse {text} as a rational number") from None
    if nano.denominator != 1:
        raise ValueError("value is too precise")
    return nano.numerator


def _duration(_: Any, text: str) -> int:
    from orlop.errors import InvalidArgument
    from orlop.formats.duration import parse_duration

    try:
        return parse_duration(text)
    except InvalidArgument as error:
        raise ValueError(error.message) from None


def _add_filter(filters: Filters, text: str) -> Filters:
    if not text:
        return filters
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError("bad format of filter (expected name=value)")
    name, value = name.strip().lower(), value.strip()
    return {**filters, name: [*filters.get(name, ()), value]}


BYTES = Kind("bytes", lambda _, text: ram_bytes(text), int, ("0",))
SWAP = Kind("bytes", _swap, int, ("0",))
DECIMAL = Kind("decimal", _nano_cpus, int)
DURATION = Kind("duration", _duration, int, ("0s",))
FILTER = Kind("filter", _add_filter, dict)
