"""The Dockerfile of a build: in the directory or elsewhere (``-f``), or from standard input; and the ignore file."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from orlop import errors
from orlop.cli.failure import CommandError
from orlop.formats.ignore import Ignore

__all__ = ["STDIN", "Dockerfile", "Rules", "decode_dockerfile", "find_dockerfile", "read_ignore", "stdin_dockerfile"]

STDIN = "-"
DEFAULT = "Dockerfile"
_IGNORE = ".dockerignore"
_MAX = 16 << 20


class Dockerfile:
    """The text of a Dockerfile and its name; `path` is where it lies, "" if it came by standard input."""

    __slots__ = ("name", "path", "size", "text")

    def __init__(self, text: str, size: int, name: str, path: str = "") -> None:
        self.text = text
        self.size = size
        self.name = name
        self.path = path


def find_dockerfile(directory: str, given: str) -> Dockerfile:
    """Read the Dockerfile of a directory (its real path): `given` relative to the working directory, or the default.

    Raises `CommandError` with docker's texts.
    """
    path = os.path.normpath(os.path.join(os.getcwd() if given else directory, given or DEFAULT))
    if not given and not os.path.lexists(path) and os.path.lexists(lower := os.path.join(directory, DEFAULT.lower())):
        path = lower
    try:
        real = os.path.realpath(path, strict=True)
    except OSError as error:
        raise CommandError(
            "unable to prepare context: unable to evaluate symlinks in Dockerfile path: "
            f"lstat {error.filename}: {(error.strerror or '').lower()}"
        ) from None
    try:
        with open(real, "rb") as file:
            data = file.read(_MAX + 1)
    except OSError as error:
        doing = "read" if isinstance(error, IsADirectoryError) else "open"
        raise CommandError(f"failed to read dockerfile: {doing} {path}: {(error.strerror or '').lower()}") from None
    name = os.path.relpath(real, directory)
    inside = not (name == ".." or name.startswith("../"))
    return Dockerfile(decode_dockerfile(data), len(data), name if inside else os.path.basename(path), path)


def stdin_dockerfile(begin: bytes = b"") -> Dockerfile:
    """Read a Dockerfile from standard input, of which `begin` was read already."""
    data = begin + sys.stdin.buffer.read(_MAX + 1 - len(begin))
    return Dockerfile(decode_dockerfile(data), len(data), DEFAULT)


def decode_dockerfile(data: bytes) -> str:
    """Return a Dockerfile's text. Raises `CommandError` for one that is larger than any."""
    if len(data) > _MAX:
        raise CommandError(f"failed to read dockerfile: it is larger than {_MAX} bytes")
    return data.decode("utf-8", "replace")


class Rules(NamedTuple):
    """What is left out of a directory, the file that says so ("" for none), and its size."""

    ignore: Ignore
    path: str = ""
    size: int = 0


def read_ignore(directory: str, dockerfile: Dockerfile | None) -> Rules:
    """Return what is left out of a directory.

    A Dockerfile's own file, ``<Dockerfile>.dockerignore`` beside it, counts instead of the directory's.
    """
    candidates = [os.path.join(directory, _IGNORE)]
    if dockerfile is not None and dockerfile.path:
        candidates.insert(0, dockerfile.path + _IGNORE)
    for path in candidates:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise CommandError(f"error reading {_IGNORE}: open {path}: {(error.strerror or '').lower()}") from None
        try:
            return Rules(Ignore.parse(data.decode("utf-8", "surrogateescape")), path, len(data))
        except errors.InvalidArgument as error:
            raise CommandError(f"error checking context: {error.message}") from None
    return Rules(Ignore(()))
