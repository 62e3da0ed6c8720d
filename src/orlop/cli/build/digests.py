"""What the client remembers of a directory's files: the digest of each, as long as the file is the one it was.

A file is known again by device, inode, change time, modification time, size and mode. Nothing can change it and leave
the change time as it was, but for what comes within one tick of the clock that the file system takes its times from:
so a file that had just been changed when it was read is not remembered. What cannot be read, or makes no sense, is
nothing; what cannot be written is read again the next time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

__all__ = ["Digests", "cache_path"]

_VERSION = 1
_TICK = 50_000_000  # ns: the kernel's clock of file times goes in steps of 1 to 10 ms
_COARSE = 10_000_000  # times that are multiples of this come from a file system that keeps no finer ones
_COARSE_TICK = 2_000_000_000
_KEPT_SECONDS = 30 * 24 * 3600


def cache_path(directory: str, ignore: str, environment: Mapping[str, str]) -> str:
    """Return where the digests of a directory are kept, "" for nowhere.

    `ignore` is the file whose patterns choose among its files: Dockerfiles that have their own don't disturb others.
    """
    home = environment.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(home):  # the specification says to pass others over
        if not environment.get("HOME"):
            return ""
        home = os.path.join(environment["HOME"], ".cache")
    name = hashlib.sha256(os.fsencode(f"{directory}\0{ignore}")).hexdigest()[:32]
    return os.path.join(home, "orlop", "contexts", f"{name}.json")


class Digests:
    """The digests that a file of the cache has, and those that are to be in it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._known = _load(path) if path else {}
        self._fresh: dict[str, list[Any]] = {}

    def find(self, path: str, stat: os.stat_result) -> tuple[str, str] | None:
        """Return digest and capability (base64) of a file that is as it was, and remember it on."""
        entry = self._known.get(path)
        if entry is None or entry[:6] != _identity(stat):
            return None
        self._fresh[path] = entry
        return entry[6], entry[7]

    def note(self, path: str, stat: os.stat_result, digest: str, capability: str, began: int) -> None:
        """Remember a file that was read; `began` (ns) is when the reading began."""
        coarse = stat.st_ctime_ns % _COARSE == 0
        if began - stat.st_ctime_ns >= (_COARSE_TICK if coarse else _TICK):
            self._fresh[path] = [*_identity(stat), digest, capability]

    def save(self) -> None:
        """Write what was found and noted, if that is not what is there already."""
        if not self._path or self._fresh == self._known:
            return
        text = json.dumps({"version": _VERSION, "files": self._fresh}, separators=(",", ":"))
        fresh = f"{self._path}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            try:
                with open(fresh, "x", encoding="ascii") as file:
                    file.write(text)
                os.rename(fresh, self._path)
            except BaseException:
                os.unlink(fresh)
                raise
            _forget_old(os.path.dirname(self._path))
        except OSError:
            return  # a full disk or somebody else's directory: the files are read again the next time


def _identity(stat: os.stat_result) -> list[int]:
    return [stat.st_dev, stat.st_ino, stat.st_ctime_ns, stat.st_mtime_ns, stat.st_size, stat.st_mode]


def _load(path: str) -> dict[str, list[Any]]:
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read())
        if document["version"] != _VERSION:
            return {}
        files = document["files"]
        return {name: entry for name, entry in files.items() if _is_entry(entry)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 8
        and isinstance(entry[7], str)
        and isinstance(entry[6], str)
        and len(entry[6]) == 71
        and entry[6].startswith("sha256:")
    )


def _forget_old(directory: str) -> None:
    """Remove what was kept of directories that are not built from any more."""
    oldest = time.time() - _KEPT_SECONDS
    with os.scandir(directory) as found:
        for entry in found:
            if entry.stat(follow_symlinks=False).st_mtime < oldest:
                os.unlink(entry.path)
