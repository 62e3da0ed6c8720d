"""Sizes and times as docker shows them."""

from __future__ import annotations

import re
import time

__all__ = ["ago", "bytes_size", "duration", "go_time", "human_size", "local_time", "rfc3339"]

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def human_size(size: float, precision: int = 4) -> str:
    """Return bytes with decimal units, "1.234MB"."""
    return _scaled(size, 1000.0, _DECIMAL, precision)


def bytes_size(size: float) -> str:
    """Return bytes with binary units, "1.5GiB"."""
    return _scaled(size, 1024.0, _BINARY, 4)


def _scaled(size: float, base: float, units: tuple[str, ...], precision: int) -> str:
    step = 0
    while size >= base and step < len(units) - 1:
        size /= base
        step += 1
    return f"{size:.{precision}g}{units[step]}"


def duration(seconds: float) -> str:
    """Return a span of time in words, "About an hour"."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes = whole // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    for limit, unit, size in (
        (48, "hours", 1),
        (24 * 7 * 2, "days", 24),
        (24 * 30 * 2, "weeks", 24 * 7),
        (24 * 365 * 2, "months", 24 * 30),
    ):
        if hours < limit:
            return "About an hour" if hours == 1 else f"{hours // size} {unit}"
    return f"{int(seconds / 3600) // 24 // 365} years"


def ago(created: float) -> str:
    """Return how long ago a unix time was."""
    return duration(time.time() - created) + " ago"


def local_time(seconds: int) -> str:
    """Return a unix time as Go prints a time.Time, "2026-11-24 08:00:00 +0000 UTC"."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(seconds))


def go_time(text: str) -> str:
    """Return an RFC 3339 time as Go prints a time.Time that was parsed from it."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    if match is None:
        return text
    date, clock, fraction, zone = match.groups(default="")
    offset = "+0000" if zone == "Z" else zone.replace(":", "")
    return f"{date} {clock}{fraction.rstrip('0').rstrip('.')} {offset} {'UTC' if offset == '+0000' else offset}"


def rfc3339(seconds: int, nanoseconds: int | None = None) -> str:
    """Return a unix time in the local zone as RFC 3339, with nine digits of a second if `nanoseconds` are given."""
    local = time.localtime(seconds)
    offset = time.strftime("%z", local)
    zone = "Z" if offset in ("+0000", "-0000") else f"{offset[:3]}:{offset[3:]}"
    fraction = "" if nanoseconds is None else f".{nanoseconds:09d}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", local) + fraction + zone
