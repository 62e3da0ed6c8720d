"""The files of a cgroup directory: planned writes and their performer, and reading numbers back.

A controller's module turns OCI resources into a list of `Write`, purely; `perform` is the only one that writes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

__all__ = ["Exists", "Resources", "Write", "first_line", "keyed", "nested", "number", "open_all", "perform", "read"]

Resources = dict[str, Any]
"""``linux.resources`` of an OCI runtime specification, or a part of it."""

Exists = Callable[[str], bool]
"""Says whether the cgroup has the named file: kernels and schedulers differ in what they offer."""

# What reading a file of a cgroup gives when the cgroup (or the file) is not there, or was removed just now.
_GONE = (errno.ENOENT, errno.ENODEV)


class Write(NamedTuple):
    """One value for one file of a cgroup directory."""

    file: str
    value: str


def perform(directory: str, writes: Iterable[Write]) -> None:
    """Write in order. Raises `OSError` that names the file and the value which the kernel did not take."""
    for file, value in writes:
        path = f"{directory}/{file}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, value.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise OSError(error.errno, f"cannot write {value!r}: {error.strerror}", path) from error


def open_all(paths: Iterable[str]) -> list[int]:
    """Open files for writing; all or none of them. Raises `OSError`."""
    opened: list[int] = []
    try:
        for path in paths:
            opened.append(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
    except OSError:
        for descriptor in opened:
            os.close(descriptor)
        raise
    return opened


def read(directory: str, file: str) -> str:
    """Return the text of a file; empty when there is no such file or cgroup."""
    try:
        descriptor = os.open(f"{directory}/{file}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _GONE:
            return ""
        raise
    try:
        chunks = []
        while chunk := os.read(descriptor, 65536):
            chunks.append(chunk)
    except OSError as error:
        if error.errno in _GONE:
            return ""
        raise
    finally:
        os.close(descriptor)
    return b"".join(chunks).decode()


def first_line(directory: str, file: str) -> str:
    """Return the first line of a file without its end; empty when there is none."""
    return read(directory, file).partition("\n")[0].strip()


def number(directory: str, file: str, default: int = 0) -> int:
    """Return the number in a file; `default` when there is none or it is ``max``."""
    text = first_line(directory, file)
    return int(text) if text.lstrip("-").isdigit() else default


def keyed(text: str) -> dict[str, int]:
    """Parse a flat keyed file: a name and a number a line (``max`` and other words are left out).

    >>> keyed("populated 1\\nfrozen 0\\n")
    {'populated': 1, 'frozen': 0}
    """
    values = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if value.lstrip("-").isdigit():
            values[name] = int(value)
    return values


def nested(text: str) -> dict[str, dict[str, int]]:
    """Parse a nested keyed file: a name and ``key=number`` pairs a line.

    >>> nested("8:0 rbytes=1 wbytes=2\\n")
    {'8:0': {'rbytes': 1, 'wbytes': 2}}
    """
    values: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        name, *pairs = line.split()
        split = (pair.partition("=") for pair in pairs)
        values[name] = {key: int(value) for key, _, value in split if value.isdigit()}
    return values
