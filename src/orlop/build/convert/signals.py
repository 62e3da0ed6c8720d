"""Names of signals, for STOPSIGNAL: those of Linux, whatever this machine is."""

from __future__ import annotations

import re

from orlop.errors import InvalidArgument

__all__ = ["check_signal"]

_NAMES = frozenset(
    ("HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM")
    + ("TERM", "STKFLT", "CHLD", "CLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF")
    + ("WINCH", "IO", "POLL", "PWR", "SYS", "RTMIN", "RTMAX")
    + (*(f"RTMIN+{number}" for number in range(1, 16)), *(f"RTMAX-{number}" for number in range(1, 15)))
)


def check_signal(text: str) -> None:
    """Raise `InvalidArgument` unless `text` is a signal's name, with or without ``SIG``, or a number."""
    if re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII):
        known = int(text) != 0
    else:
        known = text.upper().removeprefix("SIG") in _NAMES
    if not known:
        raise InvalidArgument(f"invalid signal: {text}")
