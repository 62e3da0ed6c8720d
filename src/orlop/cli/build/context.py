"""A directory as a build context: what is in it but for what ``.dockerignore`` leaves out, with the files' digests.

Links are not followed, special files are not opened, sockets are left out. Everything belongs to 0:0 at the daemon, so
owners are not looked at.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import stat as modes
import time
from collections.abc import Callable, Iterator
from typing import Any

from orlop.cli.build.digests import Digests
from orlop.cli.failure import CommandError
from orlop.formats.ignore import Ignore

__all__ = ["Context", "open_file", "read_context"]

BLOCK = 1 << 20
_TRIES = 3
_CAPABILITY = "security.capability"
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Context:
    """What is in a directory. `lines` is the manifest, a JSON object for each file; `files` are paths and stats by
    digest; `hashed` is how many files had to be read."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.lines: list[str] = []
        self.files: dict[str, tuple[str, os.stat_result]] = {}
        self.hashed = 0

    def manifest(self) -> Iterator[bytes]:
        """Yield the manifest in pieces."""
        piece: list[str] = []
        size = 0
        for line in self.lines:
            piece.append(line)
            size += len(line)
            if size >= BLOCK:
                yield "".join(piece).encode("ascii")
                piece, size = [], 0
        yield "".join(piece).encode("ascii")


def read_context(
    directory: str, ignore: Ignore, digests: Digests, progress: Callable[[int, int], None] = lambda files, size: None
) -> Context:
    """Read a directory (its real, absolute path); files that `digests` knows are not opened.

    `progress` is told now and then how many files were read, and how many bytes. Raises `CommandError` with docker's
    texts.
    """
    context = Context(directory)
    reader = _Reader(context, digests, progress)
    found = sorted(_walk(directory, ignore), key=lambda pair: os.fsencode(pair[0]))
    for path, stat in found:
        fields = reader.fields(path, stat)
        if fields is not None:
            context.lines.append(_encode({"path": path, **fields}) + "\n")
    digests.save()
    return context


def _walk(directory: str, ignore: Ignore) -> Iterator[tuple[str, os.stat_result]]:
    """Yield everything that is in the context with its path in it, in no certain order."""
    pending = [""]
    while pending:
        parent = pending.pop()
        prefix = f"{parent}/" if parent else ""
        place = os.path.join(directory, parent)
        try:
            with os.scandir(place) as found:
                entries = [(f"{prefix}{entry.name}", entry) for entry in found]
        except OSError as error:
            raise _unreadable(place, error, directory=True) from None
        for path, entry in entries:
            left_out = ignore.ignored(path)
            is_directory = entry.is_dir(follow_symlinks=False)
            if left_out and not (is_directory and not ignore.prunes(path)):
                continue
            if not left_out:
                try:
                    yield path, entry.stat(follow_symlinks=False)
                except OSError as error:
                    raise _unreadable(entry.path, error, directory=True) from None
            if is_directory:
                pending.append(path)


class _Reader:
    """Makes the fields of a manifest's entry; see `Manifest` of the daemon for what they are."""

    def __init__(self, context: Context, digests: Digests, progress: Callable[[int, int], None]) -> None:
        self._context = context
        self._digests = digests
        self._progress = progress
        self._read = 0
        self._buffer = memoryview(bytearray(BLOCK))

    def fields(self, path: str, stat: os.stat_result) -> dict[str, Any] | None:
        """Return the fields of what is at `path` but for that itself, None for what is in no context."""
        kind = modes.S_IFMT(stat.st_mode)
        common = {"mode": modes.S_IMODE(stat.st_mode), "mtime": stat.st_mtime_ns}
        if kind == modes.S_IFREG:
            return self._file(path, stat)
        if kind == modes.S_IFDIR:
            return {"type": "dir", **common}
        if kind == modes.S_IFLNK:
            return {"type": "symlink", **common, "target": self._target(path)}
        if kind == modes.S_IFIFO:
            return {"type": "fifo", **common}
        if kind in (modes.S_IFCHR, modes.S_IFBLK):
            major, minor = os.major(stat.st_rdev), os.minor(stat.st_rdev)
            return {"type": "char" if kind == modes.S_IFCHR else "block", **common, "major": major, "minor": minor}
        return None

    def _target(self, path: str) -> str:
        place = os.path.join(self._context.directory, path)
        try:
            return os.readlink(place)
        except OSError as error:
            raise _unreadable(place, error) from None

    def _file(self, path: str, stat: os.stat_result) -> dict[str, Any]:
        known = self._digests.find(path, stat)
        if known is None:
            began = time.time_ns()
            stat, digest, capability = self._hash(os.path.join(self._context.directory, path))
            self._digests.note(path, stat, digest, capability, began)
            self._context.hashed += 1
        else:
            digest, capability = known
        self._context.files.setdefault(digest, (path, stat))
        fields: dict[str, Any] = {
            "type": "file",
            "mode": modes.S_IMODE(stat.st_mode),
            "mtime": stat.st_mtime_ns,
            "size": stat.st_size,
            "digest": digest,
        }
        return {**fields, "capability": capability} if capability else fields

    def _hash(self, place: str) -> tuple[os.stat_result, str, str]:
        """Return the stat of a file, the digest of what it held just then, and its capability."""
        try:
            descriptor = open_file(place)
            try:
                for _ in range(_TRIES):
                    before = os.fstat(descriptor)
                    digest = self._digest(descriptor, before.st_size)
                    capability = _capability(descriptor)
                    if _same_file(before, os.fstat(descriptor)):
                        return before, digest, capability
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _unreadable(place, error) from None
        raise CommandError(f"error checking context: '{place}' is being changed: it could not be read as a whole")

    def _digest(self, descriptor: int, size: int) -> str:
        digest = hashlib.sha256()
        os.lseek(descriptor, 0, os.SEEK_SET)
        left = size
        while left >= 0 and (
            count := os.readv(descriptor, [self._buffer])
        ):  # one that grows need not be read to its end
            digest.update(self._buffer[:count])
            left -= count
            self._read += count
            self._progress(self._context.hashed, self._read)
        return f"sha256:{digest.hexdigest()}"


def open_file(place: str) -> int:
    """Open what was a regular file when it was looked at, and may be anything now."""
    return os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def _same_file(before: os.stat_result, after: os.stat_result) -> bool:
    """Say whether a file is what it was, and holds what it held."""
    fields = ("st_dev", "st_ino", "st_mode", "st_size", "st_mtime_ns", "st_ctime_ns")
    return all(getattr(before, field) == getattr(after, field) for field in fields)


def _capability(descriptor: int) -> str:
    try:
        return base64.b64encode(os.getxattr(descriptor, _CAPABILITY)).decode()
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return ""
        raise


def _unreadable(place: str, error: OSError, *, directory: bool = False) -> CommandError:
    if isinstance(error, PermissionError):
        reason = f"can't stat '{place}'" if directory else f"no permission to read from '{place}'"
    elif isinstance(error, FileNotFoundError):
        reason = f"file ('{place}') not found or excluded by .dockerignore"
    else:
        reason = f"'{place}': {(error.strerror or str(error)).lower()}"
    return CommandError(f"error checking context: {reason}")
