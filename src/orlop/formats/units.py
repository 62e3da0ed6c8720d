"""Sizes and spans for people: ``512m``, ``4.26MB``, ``1.944GiB``, ``About a minute``, in Docker's spelling."""

from __future__ import annotations

import re
from fractions import Fraction

from orlop.errors import InvalidArgument

__all__ = ["binary_size", "decimal_size", "human_duration", "parse_binary_size", "parse_decimal_size"]

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?([kmgtp]?)(i?b)?", re.IGNORECASE | re.ASCII)
_PREFIXES = "kmgtp"
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def parse_binary_size(text: str) -> int:
    """Return the bytes of a size of memory: ``64m``, ``1.5g``, ``2GiB``, ``1024``; every unit is a power of 1024."""
    return _parse(text, 1024)


def parse_decimal_size(text: str) -> int:
    """Return the bytes of a size of storage, whose units are powers of 1000."""
    return _parse(text, 1000)


def _parse(text: str, base: int) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(f"invalid size: '{text}'")
    number, prefix, suffix = match.groups()
    if suffix and suffix[0] in "iI" and not prefix:
        raise InvalidArgument(f"invalid size: '{text}'")
    power = _PREFIXES.index(prefix.lower()) + 1 if prefix else 0
    return int(Fraction(number if number[0] != "." else "0" + number) * base**power)


def decimal_size(size: float, digits: int = 4) -> str:
    """Return a size with up to `digits` significant digits in powers of 1000: ``4.26MB``."""
    return _format(size, 1000.0, _DECIMAL, digits)


def binary_size(size: float, digits: int = 4) -> str:
    """Return a size with up to `digits` significant digits in powers of 1024: ``1.944GiB``."""
    return _format(size, 1024.0, _BINARY, digits)


def _format(size: float, base: float, names: tuple[str, ...], digits: int) -> str:
    power = 0
    while size >= base and power < len(names) - 1:
        size /= base
        power += 1
    return f"{size:.{digits}g}{names[power]}"


def human_duration(ns: int) -> str:
    """Return how long ago something was, roughly: ``Less than a second``, ``3 minutes``, ``About an hour``."""
    seconds = int(ns / 1e9)
    minutes, hours = int(seconds / 60), int(seconds / 3600 + 0.5)
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"
