"""Error numbers as text, the way Go programs (dockerd, runc) print them: clients match on those."""

from __future__ import annotations

import os

__all__ = ["text"]


def text(error: OSError | int) -> str:
    """Return the kernel's words for an error: ``no such file or directory``.

    Go's table is strerror(3) of glibc in lower case.
    """
    number = error if isinstance(error, int) else error.errno
    if number is None:
        return str(error)
    return os.strerror(number).lower()
