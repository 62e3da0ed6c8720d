"""Writing a stream of the daemon's to a file that appears only when it is whole, or to standard output."""

from __future__ import annotations

import os
import stat
import sys

from orlop.cli.failure import CommandError
from orlop.cli.terminal import is_terminal
from orlop.client.call import Call
from orlop.client.engine import Engine

__all__ = ["write_stream"]

_SPECIAL = (
    (stat.S_ISDIR, "directory"),
    (stat.S_ISLNK, "symbolic link directly"),
    (stat.S_ISFIFO, "named pipe (FIFO)"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "character device file"),
    (stat.S_ISBLK, "block device file"),
)


def write_stream(engine: Engine, call: Call[bytes], path: str, failure: str) -> None:
    """Carry `call` out and write its body to the file `path`, or to standard output when that is empty.

    Errors with the file itself begin with `failure`.
    """
    if not path:
        if is_terminal(1):
            raise CommandError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        sys.stdout.flush()
        _copy(engine, call, 1)
        return
    try:
        _check_destination(path)
        descriptor, fresh = _create_beside(path)
    except ValueError as error:
        raise CommandError(f"{failure}: {error}") from None
    try:
        try:
            _copy(engine, call, descriptor)
        finally:
            os.close(descriptor)
        os.rename(fresh, path)
    except BaseException:
        os.unlink(fresh)
        raise


def _copy(engine: Engine, call: Call[bytes], descriptor: int) -> None:
    response = engine.open(call)
    for piece in response.chunks():
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def _check_destination(path: str) -> None:
    directory = os.path.dirname(path)
    if directory:
        try:
            mode = os.stat(directory).st_mode
        except OSError as error:
            raise ValueError(f"invalid output path: stat {directory}: {(error.strerror or '').lower()}") from None
        if not stat.S_ISDIR(mode):
            raise ValueError(f"invalid output path: stat {directory}: not a directory")
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise ValueError(f"failed to stat output path: lstat {path}: {reason}") from None
    for is_kind, name in _SPECIAL:
        if is_kind(mode):
            raise ValueError(f"cannot write to a {name}")


def _create_beside(path: str) -> tuple[int, str]:
    from tempfile import mkstemp

    directory, name = os.path.split(path)
    try:
        return mkstemp(prefix=f".tmp-{name}", dir=directory or ".")
    except OSError as error:
        raise ValueError(f"open {error.filename}: {(error.strerror or '').lower()}") from None
