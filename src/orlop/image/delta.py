"""What of an upper directory makes a layer: a pure function from what was seen there to the steps of an archive.

A layer holds what was added or changed and whiteouts of what was removed, and for each of these the directories that
it is in, so that it can be unpacked by itself. It does not hold

- what was copied up and is as it was (`chown -R` to the same owner does that). A file with several names is left out
  only if that goes for all of them: else its names would part;
- stubs of mount points: what is empty, is where something is mounted, and is not in the layers below; and directories
  that were made to hold nothing else;
- sockets: nobody listens there any more. One that took the place of something below becomes a whiteout.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from orlop.errors import Conflict
from orlop.formats.tar.entry import Kind
from orlop.formats.tar.whiteout import OPAQUE, PREFIX

__all__ = ["Change", "Seen", "Step", "plan"]


class Change(Enum):
    """How a name in the upper directory differs from what the layers below have there."""

    ADDED = "added"
    CHANGED = "changed"
    STIRRED = "stirred"  # a directory of which only the time differs, as by names that come and go
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Seen:
    """A name in the upper directory; the root has the path "". `below` is what the layers below show there."""

    path: str
    kind: Kind
    change: Change = Change.ADDED
    below: Kind | None = None
    whiteout: bool = False
    opaque: bool = False  # a directory that hides all that the layers below have in it
    empty: bool = False  # a file without content
    links: int = 1
    inode: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Step:
    """An entry of the archive: the file at `path`, or with `mark` an empty file of that name, which removes."""

    path: str
    mark: bool = False


def plan(seen: Sequence[Seen], mount_points: Collection[str] = ()) -> list[Step]:
    """Return the entries of the layer in their order, which is that of `seen`: directories before their contents.

    `mount_points` are paths without a leading slash. Raises `Conflict` for a file whose name no layer can hold.
    """
    return _Plan(seen, mount_points).steps


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _inside(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


@dataclass(slots=True)
class _Directory:
    """A directory that the walk is in. `held` says that something in it was left out as a stub."""

    seen: Seen
    emitted: bool = False
    held: bool = False


class _Plan:
    def __init__(self, seen: Sequence[Seen], mount_points: Collection[str]) -> None:
        self.steps: list[Step] = []
        self._mount_points = frozenset(mount_points)
        self._holders = frozenset(_parents(self._mount_points))
        self._parted = {item.inode for item in seen if item.links > 1 and item.change is not Change.SAME}
        self._way: list[_Directory] = []  # from the root to where the walk is
        for item in seen:
            self._leave(item.path)
            self._take(item)
        self._leave(None)

    def _take(self, item: Seen) -> None:
        if item.whiteout or item.kind is Kind.OTHER:
            if item.below is not None:
                parent, _, name = item.path.rpartition("/")
                self._emit(Step(_inside(parent, PREFIX + name), mark=True))
            return
        if _name(item.path).startswith(PREFIX):
            raise Conflict(
                f"/{item.path} cannot be in a layer: names that begin with {PREFIX} say there that a file is removed"
            )
        if item.kind is Kind.DIRECTORY:
            self._enter(item)
        elif self._is_stub(item):
            self._way[-1].held = True
        elif item.change is not Change.SAME or (item.links > 1 and item.inode in self._parted):
            self._emit(Step(item.path))

    def _enter(self, item: Seen) -> None:
        self._way.append(_Directory(item))
        hides = item.opaque and item.below is Kind.DIRECTORY
        if hides or (item.change in (Change.ADDED, Change.CHANGED) and not self._is_stub(item)):
            self._emit_way()
        if hides:
            self._emit(Step(_inside(item.path, OPAQUE), mark=True))

    def _is_stub(self, item: Seen) -> bool:
        """Tell whether something may be there only because it was mounted over."""
        if item.change is not Change.ADDED:
            return False
        if item.kind is Kind.DIRECTORY:
            return item.path in self._mount_points or item.path in self._holders
        return item.kind is Kind.FILE and item.empty and item.path in self._mount_points

    def _leave(self, path: str | None) -> None:
        """Leave the directories that `path` is not in; None leaves them all."""
        while self._way and not _is_in(path, self._way[-1].seen.path):
            directory = self._way[-1]
            if not directory.emitted:
                if directory.seen.change is Change.STIRRED and not directory.held and directory.seen.path:
                    self._emit_way()
                elif directory.seen.change is Change.ADDED and len(self._way) > 1:
                    self._way[-2].held = True
            self._way.pop()

    def _emit(self, step: Step) -> None:
        self._emit_way()
        self.steps.append(step)

    def _emit_way(self) -> None:
        """Emit the directories that lead here, as far as that was not done yet; the root only if it was changed."""
        for directory in self._way:
            if not directory.emitted and (directory.seen.path or directory.seen.change is Change.CHANGED):
                self.steps.append(Step(directory.seen.path))
            directory.emitted = True


def _is_in(path: str | None, directory: str) -> bool:
    return path is not None and (not directory or path.startswith(f"{directory}/"))


def _parents(paths: Iterable[str]) -> Iterable[str]:
    for path in paths:
        while path := path.rpartition("/")[0]:
            yield path
