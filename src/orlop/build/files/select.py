"""Selecting: what a COPY takes of a tree, and the digest of that, which is part of the step's key.

The digest covers names, types, modes (of directories below what is copied, too), contents, link targets, device
numbers and capabilities, and owners where the tree has some. Times and hard links do not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from orlop.build.files.trees import Found, Tree
from orlop.build.graph import CopyFiles, Inline, Url
from orlop.build.worker import Selected
from orlop.errors import InvalidArgument, NotFound
from orlop.formats import pathmatch
from orlop.formats.ignore import Ignore
from orlop.formats.tar.entry import Kind

__all__ = ["Below", "MissingSource", "Pick", "excluded", "picks", "selected", "walk"]

_MOST_LISTED = 200_000


class MissingSource(NotFound):
    """A source of a COPY is not there."""

    def __init__(self, path: str) -> None:
        super().__init__(f'"/{path}": not found')
        self.path = path


@dataclass(frozen=True, slots=True)
class Pick:
    """One source that was meant: `found` is what it is, links followed; `path` what was written, wildcards expanded.

    With ``--parents`` it is a directory, and only what `include` matches is meant of it.
    """

    found: Found
    path: str
    include: Ignore | None = None

    @property
    def name(self) -> str:
        """Its name in a directory that it is copied to."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Below:
    """A file below a directory that is copied, by its relative path; `passed` is a directory that is there only for
    something in it."""

    path: str
    found: Found
    passed: bool = False


def picks(tree: Tree, action: CopyFiles) -> list[Pick]:
    """Return the sources of an action. Raises `MissingSource`, and `InvalidArgument` for a wrong pattern."""
    if isinstance(action.source, Inline):
        return [pick for name in tree.names("") for pick in _named(tree, name)]
    if isinstance(action.source, Url):
        return [replace(pick, path=action.source.filename) for pick in _named(tree, "")]
    find = _with_parents if action.parents else _expanded
    return [pick for path in action.paths for pick in find(tree, path)]


def walk(tree: Tree, pick: Pick, exclude: Ignore | None) -> Iterator[Below]:
    """Yield what is meant of a directory, each directory before what is in it."""
    top = pick.found.path
    pending = [("", name) for name in reversed(tree.names(top))]
    passed: dict[str, Found] = {}  # directories that are not meant, until something in them is
    while pending:
        parent, name = pending.pop()
        relative = f"{parent}/{name}" if parent else name
        path = f"{top}/{relative}" if top else relative
        item = tree.look(path)
        if item is None or item.kind is Kind.OTHER:
            continue
        included = pick.include is None or pick.include.ignored(relative)
        left_out = exclude is not None and exclude.ignored(relative)
        if included and not left_out:
            yield from _way(passed, parent)
            yield Below(relative, item)
        if item.kind is not Kind.DIRECTORY or (left_out and exclude is not None and exclude.prunes(relative)):
            continue
        if included or (pick.include is not None and pick.include.reaches(relative)):
            pending += [(relative, below) for below in reversed(tree.names(path))]
            if not included or left_out:
                passed[relative] = item


def _way(passed: dict[str, Found], directory: str) -> Iterator[Below]:
    """Yield the directories down to this one that were passed over until now."""
    if not passed:
        return
    parts = directory.split("/")
    for end in range(1, len(parts) + 1):
        path = "/".join(parts[:end])
        if (found := passed.pop(path, None)) is not None:
            yield Below(path, found, passed=True)


def selected(tree: Tree, action: CopyFiles) -> Selected:
    """Return the digest of what an action takes. Raises `NotFound`, `InvalidArgument` and `OSError`."""
    digest = hashlib.sha256()
    files: list[tuple[str, str]] = []
    hashed = 0
    exclude = excluded(action)

    def note(path: str, item: Found, *, top: bool = False) -> None:
        nonlocal hashed
        content = item.target
        if item.kind is Kind.FILE:
            hashed += not item.digest
            content = item.digest or tree.digest(item)
        elif item.kind in (Kind.CHAR, Kind.BLOCK):
            content = f"{item.major}:{item.minor}"
        mode = "" if top else f"{item.mode:04o}"
        owner = f"{item.uid}:{item.gid}" if tree.has_owners and not top else ""
        line = "\0".join((path, item.kind.value, mode, owner, content, item.capability.hex()))
        digest.update(line.encode(errors="surrogateescape") + b"\0\n")
        if len(files) < _MOST_LISTED and not top:
            files.append((path, f"{mode}{' ' + owner if owner else ''} {content}".rstrip()))

    for pick in picks(tree, action):
        if pick.found.kind is Kind.DIRECTORY:
            note(f"{pick.path}/", pick.found, top=True)
            for below in walk(tree, pick, exclude):
                note(f"{pick.path}/{below.path}" if pick.path else below.path, below.found)
        else:
            note(pick.path, pick.found)
    return Selected(f"sha256:{digest.hexdigest()}", tuple(files), hashed)


def excluded(action: CopyFiles) -> Ignore | None:
    """Return what ``--exclude`` leaves out of directories that are copied; a file that is named is not left out."""
    return Ignore(action.exclude) if action.exclude else None


def _expanded(tree: Tree, path: str) -> Iterator[Pick]:
    """Yield what a path means. Raises `MissingSource`."""
    if not pathmatch.has_wildcards(path):
        yield from _named(tree, path.strip("/"))
        return
    for match in sorted(_matching(tree, path)):
        yield from _named(tree, match)


def _named(tree: Tree, path: str) -> Iterator[Pick]:
    place = tree.resolve(path)
    found = None if place is None else tree.look(place)
    if found is None:
        raise MissingSource(path)
    if found.kind is not Kind.OTHER:
        yield Pick(found, path)


def _with_parents(tree: Tree, path: str) -> Iterator[Pick]:
    """Yield the directories that a path of ``--parents`` is looked for in: the root, or what stands before ``/./``.

    Raises `MissingSource`.
    """
    before, pivot, after = path.partition("/./")
    if not pivot:
        before, after = "", path
    before, after = before.strip("/"), after.strip("/")
    wild = pathmatch.has_wildcards(after)
    for pick in _expanded(tree, before):
        needed = f"{pick.found.path}/{after}".strip("/")
        if pick.found.kind is Kind.DIRECTORY and after and (wild or tree.look(needed) is not None):
            yield replace(pick, include=Ignore((after,)))
        elif not wild:
            raise MissingSource(f"{pick.path}/{after}".strip("/"))


def _matching(tree: Tree, pattern: str) -> Iterator[str]:
    """Yield the paths that match a pattern, part by part."""
    try:
        pathmatch.match(pattern, ".")
    except pathmatch.BadPattern as error:
        raise InvalidArgument(f"{error}: {pattern!r}") from None
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    pending = [("", 0)]
    while pending:
        path, depth = pending.pop()
        found = tree.look(path)
        if depth == len(parts):
            if found is not None:
                yield path
            continue
        if found is None or found.kind is not Kind.DIRECTORY:
            continue
        part = parts[depth]
        if pathmatch.has_wildcards(part):
            names = [name for name in tree.names(path) if pathmatch.match(part, name)]
        else:
            names = [part]
        pending += [(f"{path}/{name}" if path else name, depth + 1) for name in names]
