"""``.dockerignore``: which files of a directory are no part of a context, exactly as Docker decides it.

A line is a pattern; the last one that speaks of a file, or of a directory that it is in, counts. One that begins with
``!`` takes files back in. ``*``, ``?`` and ``[a-z]`` do not match a slash, ``**`` matches any number of directories.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence

from orlop.errors import InvalidArgument
from orlop.formats import pathmatch, regexp

__all__ = ["Ignore"]

_KNOWN_DIRECTORIES = 4096
_STEP = re.compile(r"\*\*/?|\*|\?|\\.?|[^*?\\]", re.DOTALL)
_WILD = re.compile(r"[*?\[\\]")
_SPECIAL = re.compile(r"[.+()|{}$]")


class Ignore:
    """The patterns of one file. Paths are relative, with slashes. Raises `InvalidArgument` for a wrong pattern.

    All patterns together are held against a path once; what its directory has come to is kept.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(_Pattern(text) for text in patterns if text.strip())
        self._exact: dict[str, list[int]] = {}
        self._wild = [place for place, pattern in enumerate(self.patterns) if pattern.expression]
        self._expressions = _together([self.patterns[place].expression for place in self._wild])
        for place, pattern in enumerate(self.patterns):
            if not pattern.expression:
                self._exact.setdefault(pattern.text, []).append(place)
        self._exceptions = [pattern for pattern in self.patterns if pattern.exception]
        self._directories: dict[str, tuple[int, ...]] = {"": ()}

    @classmethod
    def parse(cls, text: str) -> Ignore:
        """Read a ``.dockerignore``."""
        lines = text.removeprefix("\ufeff").split("\n")
        return cls(found for line in lines if not line.startswith("#") and (found := _cleaned(line.strip())))

    def __str__(self) -> str:
        """Return a text that parses to the same."""
        return "\n".join(str(pattern) for pattern in self.patterns)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    @property
    def takes_back(self) -> bool:
        """Whether there are exceptions: what is below something that is left out may be in the context."""
        return bool(self._exceptions)

    def ignored(self, path: str) -> bool:
        """Tell whether `path` is left out."""
        return bool(self.patterns) and self._left_out(self._met(path))

    def prunes(self, directory: str) -> bool:
        """Tell whether nothing below `directory` can be in the context: it is left out, and nothing takes back in."""
        inside = f"{directory}/"
        return self.ignored(directory) and not any(pattern.may_match_below(inside) for pattern in self._exceptions)

    def reaches(self, directory: str) -> bool:
        """Tell whether a pattern may mean something below `directory`, which it does not mean itself."""
        return any(pattern.may_match_below(f"{directory}/") for pattern in self.patterns)

    def _left_out(self, met: tuple[int, ...]) -> bool:
        return bool(met) and not self.patterns[met[-1]].exception

    def _met(self, path: str) -> tuple[int, ...]:
        """Return the places of the patterns that mean `path` or a directory that it is in, in order."""
        above = self._above(path.rpartition("/")[0])
        found = self._found(path)
        if not found:
            return above
        met: list[int] = []
        left_out = False
        for place in sorted({*above, *found}):
            exception = self.patterns[place].exception
            # One that could change nothing is not asked, and does not count for what is below either: as Docker.
            if exception is left_out or place in above:
                met.append(place)
                left_out = not exception
        return tuple(met)

    def _found(self, path: str) -> list[int]:
        """Return the places of the patterns that mean exactly this path."""
        found = self._exact.get(path, [])
        if self._expressions is not None and (places := self._expressions.found(path)):
            return [*found, *(self._wild[place] for place in places)]
        return found

    def _above(self, directory: str) -> tuple[int, ...]:
        known = self._directories.get(directory)
        if known is None:
            if len(self._directories) >= _KNOWN_DIRECTORIES:
                self._directories = {"": ()}
            pending = [directory]
            while (parent := pending[-1].rpartition("/")[0]) not in self._directories:
                pending.append(parent)
            for path in reversed(pending):
                known = self._directories[path] = self._met(path)
        assert known is not None  # the last one that was looked at
        return known


class _Pattern:
    """One line. `exception` says that it takes back in; `expression` is "" where it means just one path."""

    def __init__(self, text: str) -> None:
        text = posixpath.normpath(text.strip())
        self.exception = text.startswith("!")
        if text == "!":
            raise InvalidArgument('illegal exclusion pattern: "!"')
        self.text = text[1:] if self.exception else text
        try:
            pathmatch.match(self.text, ".")
        except pathmatch.BadPattern as error:
            raise InvalidArgument(str(error)) from None
        self.expression = _expression(self.text)

    def __str__(self) -> str:
        comment = self.text.startswith("#") and not self.exception
        return f"{'!' if self.exception else './' if comment else ''}{self.text}"

    def may_match_below(self, inside: str) -> bool:
        """Tell whether something below a directory (with its slash) may match."""
        wild = _WILD.search(self.text)
        head = self.text[: wild.start()] if wild else self.text
        return head.startswith(inside) or (wild is not None and inside.startswith(head))


def _together(expressions: Sequence[str]) -> regexp.Several | None:
    if not expressions:
        return None
    try:
        return regexp.Several(expressions)
    except regexp.BadExpression as error:
        raise InvalidArgument(f"syntax error in pattern: {error}") from None


def _expression(text: str) -> str:
    """Return the regular expression of a pattern, "" for one that means just one path."""
    if not _WILD.search(text):
        return ""
    if text.startswith("**") and not _WILD.search(text[2:]):  # which means a slash, too
        rest = text[2:]
        return f"(?:^|/){_literal(rest[1:])}$" if rest.startswith("/") else f"{_literal(rest)}$"
    if text.endswith("**") and not _WILD.search(text[:-2]):
        return f"^{_literal(text[:-2])}"
    parts = []
    for step in _STEP.finditer(text):
        part = step[0]
        if part.startswith("**"):
            parts.append("(.*/)?" if step.end() < len(text) else ".*")
        elif part == "*":
            parts.append("[^/]*")
        elif part == "?":
            parts.append("[^/]")
        elif part in "[]" or part.startswith("\\"):
            parts.append(part)
        else:
            parts.append(_literal(part))
    return f"^{''.join(parts)}$"


def _literal(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text)


def _cleaned(line: str) -> str:
    """Return a line's pattern with a clean path, "" if it has none."""
    exception = line.startswith("!")
    pattern = line[1:].strip() if exception else line
    if pattern:
        pattern = posixpath.normpath(pattern)
        pattern = pattern.lstrip("/") or "/"
    return f"!{pattern}" if exception else pattern
