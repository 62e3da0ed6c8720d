"""Selecting: what a COPY takes of a tree, and the digest of that, which is part of the step's key.

The digest covers names, types, modes (of directories below what is copied, too), contents, link targets, device
numbers and capabilities, and owners where the tree has some. Times and hard links do not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from orlop.build.files.trees import Found, Tree
from orlop.build.graph import CopyFiles, Inline
from orlop.build.worker import Selected
from orlop.errors import InvalidArgument, NotFound
from orlop.formats import pathmatch
from orlop.formats.ignore import Ignore
from orlop.formats.tar.entry import Kind

__all__ = ["MissingSource", "Pick", "picks", "selected", "walk"]

_MOST_LISTED = 200_000


class MissingSource(NotFound):
    """A source of a COPY is not there."""

    def __init__(self, path: str) -> None:
        super().__init__(f'"/{path}": not found')
        self.path = path


@dataclass(frozen=True, slots=True)
class Pick:
    """One source that was meant: `found` is what it is, links followed; `name` the last part of what was written.

    With ``--parents`` `above` is what of its path is made at the destination.
    """

    found: Found
    name: str
    above: str = ""


def picks(tree: Tree, action: CopyFiles) -> list[Pick]:
    """Return the sources of an action. Raises `MissingSource`, and `InvalidArgument` for a wrong pattern."""
    chosen: list[Pick] = []
    for path in tree.names("") if isinstance(action.source, Inline) else action.paths:
        before, pivot, after = path.partition("/./")
        plain = f"{before}/{after}" if pivot else path
        wild = pathmatch.has_wildcards(plain)
        if wild:
            matched = sorted(_matching(tree, plain))
        else:
            matched = [plain.strip("/")]
        for match in matched:
            place = tree.resolve(match)
            found = None if place is None else tree.look(place)
            if found is None:
                if wild:
                    continue  # a link to nowhere
                raise MissingSource(plain.strip("/"))
            above = ""
            if action.parents:
                kept = match.removeprefix(f"{before.strip('/')}/") if pivot and before.strip("/") else match
                above = kept if found.kind is Kind.DIRECTORY else kept.rpartition("/")[0]
            chosen.append(Pick(found, match.rpartition("/")[2], above))
    return chosen


def walk(tree: Tree, found: Found, ignore: Ignore | None) -> Iterator[tuple[str, Found]]:
    """Yield what is below a directory, by its relative path, directories before what is in them."""
    pending = [("", name) for name in reversed(tree.names(found.path))]
    while pending:
        parent, name = pending.pop()
        relative = f"{parent}/{name}" if parent else name
        path = f"{found.path}/{relative}" if found.path else relative
        item = tree.look(path)
        if item is None or item.kind is Kind.OTHER:
            continue
        ignored = ignore is not None and ignore.ignored(relative)
        if not ignored:
            yield relative, item
        if item.kind is Kind.DIRECTORY and not (ignored and ignore is not None and ignore.prunes(relative)):
            pending += [(relative, below) for below in reversed(tree.names(path))]


def selected(tree: Tree, action: CopyFiles) -> Selected:
    """Return the digest of what an action takes. Raises `NotFound`, `InvalidArgument` and `OSError`."""
    digest = hashlib.sha256()
    files: list[tuple[str, str]] = []
    hashed = 0
    ignore = excluded(action)

    def note(path: str, item: Found, *, root: bool = False) -> None:
        nonlocal hashed
        content = item.target
        if item.kind is Kind.FILE:
            hashed += not item.digest
            content = item.digest or tree.digest(item)
        elif item.kind in (Kind.CHAR, Kind.BLOCK):
            content = f"{item.major}:{item.minor}"
        mode = "" if root else f"{item.mode:04o}"
        owner = f"{item.uid}:{item.gid}" if tree.has_owners and not root else ""
        line = "\0".join((path, item.kind.value, mode, owner, content, item.capability.hex()))
        digest.update(line.encode(errors="surrogateescape") + b"\0\n")
        if len(files) < _MOST_LISTED and not root:
            files.append((path, f"{mode}{' ' + owner if owner else ''} {content}".rstrip()))

    for pick in picks(tree, action):
        item = pick.found
        if item.kind is Kind.DIRECTORY:
            note(f"{pick.above}/", item, root=not action.parents)
            for relative, below in walk(tree, item, ignore):
                note(f"{item.path}/{relative}" if item.path else relative, below)
        elif not (ignore and ignore.ignored(pick.name)):
            note(f"{pick.above}/{pick.name}" if pick.above else item.path or pick.name, item)
    return Selected(f"sha256:{digest.hexdigest()}", tuple(files), hashed)


def excluded(action: CopyFiles) -> Ignore | None:
    """Return what ``--exclude`` leaves out."""
    return Ignore(action.exclude) if action.exclude else None


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
