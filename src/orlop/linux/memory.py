"""What the C library's allocator keeps, which the interpreter's own collector knows nothing of (mallopt(3))."""

from __future__ import annotations

import ctypes

__all__ = ["limit_arenas", "trim"]

_M_ARENA_MAX = -8

_libc = ctypes.CDLL(None)


def limit_arenas(count: int) -> None:
    """Let all threads share `count` arenas: each keeps what was freed in it. Nothing happens without glibc."""
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_ARENA_MAX, count)


def trim() -> None:
    """Give free memory of all arenas back to the kernel; takes milliseconds (malloc_trim(3))."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
