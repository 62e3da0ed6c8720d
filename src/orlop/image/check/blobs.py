"""Blobs: does each still have its digest?"""

from __future__ import annotations

from orlop.errors import NotFound
from orlop.formats.digest import Digest
from orlop.image.check.problem import Problem
from orlop.image.content import Content

__all__ = ["PULL_AGAIN", "check_blob"]

PULL_AGAIN = "pull or load the image again"
_BLOCK = 1 << 20


def check_blob(content: Content, digest: Digest) -> Problem | None:
    """Read a blob and compare its digest; None if it is sound."""
    hasher = Digest.hasher(digest.algorithm)
    length = 0
    try:
        with content.open(digest) as blob:
            while block := blob.read(_BLOCK):
                hasher.update(block)
                length += len(block)
    except NotFound:
        return Problem("blob", str(digest), "is missing", remedy=PULL_AGAIN)
    except OSError as error:
        return Problem("blob", str(digest), f"cannot be read: {error.strerror}", remedy=PULL_AGAIN)
    if hasher.hexdigest() == digest.hex:
        return None
    return Problem(
        "blob", str(digest), f"has {length} bytes of another digest: {hasher.hexdigest()}", remedy=PULL_AGAIN
    )
