"""Paths of instructions, on paper: relative to a root or to the working directory, cleaned as Go's path.Clean does."""

from __future__ import annotations

import posixpath

__all__ = ["destination", "joined", "within_root"]


def cleaned(path: str) -> str:
    """Return an absolute path without ``.``, ``..`` and doubled slashes; ``..`` does not leave the root."""
    return "/" + posixpath.normpath("/" + path).lstrip("/")


def within_root(path: str) -> str:
    """Return `path` relative to the root of its source, "" for the root itself."""
    return cleaned(path)[1:]


def joined(directory: str, path: str) -> str:
    """Return the working directory after ``WORKDIR path``: an absolute one is taken as it is written."""
    if not path:
        return directory
    return path if path.startswith("/") else cleaned(posixpath.join(directory, path))


def destination(directory: str, path: str) -> str:
    """Return the absolute destination of a COPY; a slash at its end says that it must be a directory."""
    whole = cleaned(path if path.startswith("/") else posixpath.join(directory, path))
    is_directory = path in ("", ".") or path.endswith(("/", "/."))
    return whole + "/" if is_directory and whole != "/" else whole
