"""Expansion of the words of a Dockerfile: variables put in, quotes taken off (`orlop.formats.shellwords`)."""

from __future__ import annotations

from collections.abc import Mapping

from orlop.formats.shellwords import Expanded, expanded

__all__ = ["Expanded", "expand", "expand_heredoc", "expand_words"]


def expand(text: str, variables: Mapping[str, str], *, escape: str = "\\") -> Expanded:
    """Expand `text` as one word. Raises `InvalidArgument` (``failed to process "…": …``)."""
    return expanded(text, variables, escape=escape)


def expand_words(text: str, variables: Mapping[str, str], *, escape: str = "\\") -> list[str]:
    """Return the words that `text` becomes. Raises `InvalidArgument`."""
    return list(expanded(text, variables, escape=escape).words)


def expand_heredoc(text: str, variables: Mapping[str, str]) -> Expanded:
    """Expand the variables of a heredoc, whose quotes are its own. Raises `InvalidArgument`."""
    return expanded(text, variables, quotes=False)
