"""Sending a context: first the list of what is in it, then the files that the daemon does not have."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator

from orlop.cli.build.context import BLOCK, Context, open_file
from orlop.cli.failure import CommandError
from orlop.client import calls
from orlop.client.engine import Engine

__all__ = ["Sent", "send_context"]


class Sent:
    """A context that the daemon has under `id`; `files` of it were sent, which had so many bytes."""

    __slots__ = ("bytes", "files", "id")

    def __init__(self, id: str, files: int, size: int) -> None:
        self.id = id
        self.files = files
        self.bytes = size


def send_context(
    engine: Engine, context: Context, progress: Callable[[int, int], None] = lambda sent, total: None
) -> Sent:
    """Send what is missing at the daemon; `progress` is told how many bytes are sent of how many.

    Raises `CommandError` for a file that is not what it was when it was read.
    """
    answer = engine.do(calls.build_context(context.manifest()))
    missing = [digest for digest in answer.get("Missing") or () if digest in context.files]
    total = sum(context.files[digest][1].st_size for digest in missing)
    if missing:
        pieces = _counted(_in_blocks(_parts(context, missing)), total, progress)
        engine.do(calls.build_files(answer["Id"], pieces))
    return Sent(answer["Id"], len(missing), total)


def _parts(context: Context, digests: Iterable[str]) -> Iterator[bytes]:
    """Yield for each file a line that says what follows, and its content."""
    for digest in digests:
        path, stat = context.files[digest]
        yield json.dumps({"digest": digest, "size": stat.st_size}, separators=(",", ":")).encode() + b"\n"
        place = os.path.join(context.directory, path)
        try:
            descriptor = open_file(place)
        except OSError as error:
            raise _changed(place, (error.strerror or "").lower()) from None
        try:
            if not _same_content(stat, os.fstat(descriptor)):
                raise _changed(place, "it was changed")
            left = stat.st_size
            while left:
                data = os.read(descriptor, min(BLOCK, left))
                if not data:
                    raise _changed(place, "it became shorter")
                left -= len(data)
                yield data
            if not _same_content(stat, os.fstat(descriptor)):
                raise _changed(place, "it was changed")
        finally:
            os.close(descriptor)


def _same_content(before: os.stat_result, after: os.stat_result) -> bool:
    """Say whether a file looks as if it held what it did; the daemon compares the digest of what it gets."""
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


def _changed(place: str, reason: str) -> CommandError:
    return CommandError(f"error sending context: '{place}' is not what it was when it was read: {reason}")


def _in_blocks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join small parts: each piece of a body takes several system calls."""
    block = bytearray()
    for part in parts:
        if not block and len(part) >= BLOCK:
            yield part
            continue
        block += part
        if len(block) >= BLOCK:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


def _counted(pieces: Iterable[bytes], total: int, progress: Callable[[int, int], None]) -> Iterator[bytes]:
    sent = 0
    for piece in pieces:
        yield piece
        sent += len(piece)
        progress(min(sent, total), total)
