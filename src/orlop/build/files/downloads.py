"""What was fetched by HTTP lately: a server that still has the same is not made to send it again (RFC 9110, 13.1)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["Download", "Downloads"]

_MOST = 1000


@dataclass(frozen=True, slots=True)
class Download:
    """A file that was fetched: its digest, size and time (`mtime`, ns), and what tells that it is still the same."""

    digest: str
    size: int
    mtime: int = 0
    etag: str = ""
    modified: str = ""

    def conditions(self) -> dict[str, str]:
        """Return the headers by which a server is asked whether it has another one; none if it never said how."""
        if self.etag:
            return {"If-None-Match": self.etag}
        return {"If-Modified-Since": self.modified} if self.modified else {}


class Downloads:
    """The latest downloads by their addresses. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Download] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, url: str) -> Download | None:
        """Return what an address had the last time."""
        with self._lock:
            return self._known.get(url)

    def put(self, url: str, download: Download) -> None:
        """Remember what an address had."""
        with self._lock:
            self._known[url] = download
            self._known.move_to_end(url)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
