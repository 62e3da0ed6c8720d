"""Whiteouts: how an image layer says that something of the layers below is gone (image-spec layer.md#whiteouts)."""

from __future__ import annotations

__all__ = ["META_PREFIX", "OPAQUE", "PREFIX", "removed_name"]

PREFIX = ".wh."
META_PREFIX = ".wh..wh."
OPAQUE = ".wh..wh..opq"
"""A file of this name hides all that the directory has below; others with `META_PREFIX` are AUFS's own bookkeeping."""


def removed_name(name: str) -> str | None:
    """Return what the file `name` (no slashes) removes, None if it is no whiteout.

    Removing nothing, the directory itself or its parent makes no sense: those are returned as "".
    """
    if not name.startswith(PREFIX) or name.startswith(META_PREFIX):
        return None
    removed = name[len(PREFIX) :]
    return "" if removed in ("", ".", "..") else removed
