"""``.dockerignore``: which files of a directory are no part of a context, exactly as Docker decides it.

A line is a pattern; the last one that speaks of a file, or of a directory that it is in, counts. One that begins with
``!`` takes files back in. ``*``, ``?`` and ``[a-z]`` do not match a slash, ``**`` matches any number of directories.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from orlop.errors import InvalidArgument
from orlop.formats import pathmatch, regexp

__all__ = ["Ignore"]

_KNOWN_DIRECTORIES = 4096
_STEP = re.compile(r"\*\*/?|\*|\?|\\.?|[^*?\\]", re.DOTALL)
_WILD = re.compile(r"[*?\[\\]")


class Ignore:
    """The patterns of one file. Paths are relative, with slashes. Raises `InvalidArgument` for a wrong pattern."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(_Pattern(text) for text in patterns if text.strip())
        self._directories: dict[str, tuple[bool, ...]] = {}

    @classmethod
    def parse(cls, text: str) -> Ignore:
        """Read a ``.dockerignore``."""
        lines = text.removeprefix("\ufeff").split("\n")
        return cls(found for line in lines if not line.startswith("#") and (found := _cleaned(line.strip())))

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def ignored(self, path: str) -> bool:
        """Tell whether `path` is left out."""
        if not self.patterns:
            return False
        return self._result(self._matches(path))

    def prunes(self, directory: str) -> bool:
        """Tell whether nothing below `directory` can be in the context: it is left out, and nothing takes back in."""
        inside = f"{directory}/"
        return self.ignored(directory) and not any(
            pattern.exception and pattern.may_match_below(inside) for pattern in self.patterns
        )

    def _matches(self, path: str) -> tuple[bool, ...]:
        """Tell for each pattern whether it matches `path` or a directory that it is in."""
        parent = path.rpartition("/")[0]
        above = self._above(parent) if parent else (False,) * len(self.patterns)
        found: list[bool] = []
        left_out = False
        for pattern, matched in zip(self.patterns, above, strict=True):
            # A pattern that could change nothing is not asked, and has not matched for what is below either.
            matched = matched or (pattern.exception is left_out and pattern.matches(path))
            found.append(matched)
            if matched:
                left_out = not pattern.exception
        return tuple(found)

    def _above(self, directory: str) -> tuple[bool, ...]:
        known = self._directories.get(directory)
        if known is None:
            if len(self._directories) >= _KNOWN_DIRECTORIES:
                self._directories.clear()
            pending = [directory]
            while (parent := pending[-1].rpartition("/")[0]) and parent not in self._directories:
                pending.append(parent)
            for path in reversed(pending):
                known = self._directories[path] = self._matches(path)
        assert known is not None  # the last one that was looked at
        return known

    def _result(self, matches: tuple[bool, ...]) -> bool:
        left_out = False
        for pattern, matched in zip(self.patterns, matches, strict=True):
            if matched:
                left_out = not pattern.exception
        return left_out


class _Pattern:
    """One line. `exception` says that it takes back in."""

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
        self._expression = _expression(self.text)

    def matches(self, path: str) -> bool:
        """Tell whether the pattern means exactly this path."""
        if self._expression:
            return regexp.found(self._expression, path)
        if self.text.startswith("**"):
            rest = self.text[2:]
            return path.endswith(rest) or path == rest.removeprefix("/")
        if self.text.endswith("**"):
            return path.startswith(self.text[:-2])
        return path == self.text

    def may_match_below(self, inside: str) -> bool:
        """Tell whether something below a directory (with its slash) may match."""
        wild = _WILD.search(self.text)
        head = self.text[: wild.start()] if wild else self.text
        return head.startswith(inside) or (wild is not None and inside.startswith(head))


def _expression(text: str) -> str:
    """Return the regular expression of a pattern, "" where comparing its literal part is enough."""
    literal = text.removeprefix("**") if text.startswith("**") else text.removesuffix("**")
    if not _WILD.search(literal):
        return ""
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
            parts.append("\\" + part if part in ".+()|{}$" else part)
    return f"^{''.join(parts)}$"


def _cleaned(line: str) -> str:
    """Return a line's pattern with a clean path, "" if it has none."""
    exception = line.startswith("!")
    pattern = line[1:].strip() if exception else line
    if pattern:
        pattern = posixpath.normpath(pattern)
        pattern = pattern.lstrip("/") or "/"
    return f"!{pattern}" if exception else pattern
