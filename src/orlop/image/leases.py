"""Leases: names that must not be collected although no record names them yet.

An operation holds everything that it makes and everything that it found and relies on, before it looks whether that
is there. The lock orders holding against collecting: whatever is held before a collection begins survives it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

__all__ = ["Lease", "Leases"]


class Leases:
    """All leases of one set of images. `released` is called with the names of a lease that ended."""

    def __init__(self, released: Callable[[frozenset[str]], None]) -> None:
        self.lock = threading.RLock()
        self._counts: Counter[str] = Counter()
        self._released = released

    def open(self) -> Lease:
        """Begin a lease; it ends with its ``with`` block."""
        return Lease(self)

    def held(self, name: str) -> bool:
        """Tell whether anyone holds `name`. Call it under `lock`."""
        return self._counts[name] > 0

    def holders(self, name: str) -> int:
        """Return how many leases hold `name`."""
        with self.lock:
            return self._counts[name]

    def _hold(self, names: set[str], name: str) -> None:
        with self.lock:
            if name not in names:
                names.add(name)
                self._counts[name] += 1

    def _merge(self, names: set[str], others: set[str]) -> None:
        with self.lock:
            self._counts.subtract(names & others)  # they were held twice
            names |= others

    def _release(self, names: set[str]) -> None:
        with self.lock:
            self._counts.subtract(names)
            self._counts = +self._counts
        self._released(frozenset(names))


class Lease:
    """What one operation holds. Every method may be called from any thread."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._names: set[str] = set()

    def hold(self, name: str) -> None:
        """Hold a blob (its digest) or a layer (its directory's name)."""
        self._leases._hold(self._names, name)

    def absorb(self, other: Lease) -> None:
        """Take over what `other` holds, which ends without a collection."""
        names, other._names = other._names, set()
        self._leases._merge(self._names, names)

    def release(self) -> None:
        """End the lease: what nothing else names is collected, in this thread."""
        names, self._names = self._names, set()
        self._leases._release(names)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
