"""Detach keys: the sequence that takes a client off a terminal and leaves the container running."""

from __future__ import annotations

__all__ = ["DEFAULT", "DetachKeyError", "Scanner", "parse_keys"]

DEFAULT = b"\x10\x11"  # ctrl-p,ctrl-q

_CONTROL = {f"ctrl-{letter}": bytes([number]) for number, letter in enumerate("@abcdefghijklmnopqrstuvwxyz[\\]^_")}


class DetachKeyError(ValueError):
    """The text does not name a key sequence."""


def parse_keys(text: str) -> bytes:
    """Return the bytes of a sequence such as ``ctrl-p,ctrl-q`` or ``ctrl-a,x``; of an empty text, the default.

    Raises `DetachKeyError`.
    """
    if not text:
        return DEFAULT
    keys = b""
    for key in text.split(","):
        if len(key) == 1 and key.isascii():
            keys += key.encode()
        elif key in _CONTROL:
            keys += _CONTROL[key]
        else:
            raise DetachKeyError(f"Unknown character: '{key}'")
    return keys


class Scanner:
    """Finds the sequence in what a client types; a beginning of it is held back until it is clear what it was.

    >>> scanner = Scanner(DEFAULT)
    >>> scanner.feed(b"ls\\x10"), scanner.feed(b"x"), scanner.feed(b"\\x10\\x11rest")
    ((b'ls', False), (b'\\x10x', False), (b'', True))
    """

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return what is to be passed on, and whether the sequence was typed (the rest of `data` is dropped then)."""
        if not self._keys:
            return data, False
        data = self._held + data
        found = data.find(self._keys)
        if found >= 0:
            self._held = b""
            return data[:found], True
        hold = next((n for n in range(len(self._keys) - 1, 0, -1) if data.endswith(self._keys[:n])), 0)
        self._held = data[len(data) - hold :]
        return data[: len(data) - hold], False

    def flush(self) -> bytes:
        """Return what was held back: nothing more will be typed."""
        held, self._held = self._held, b""
        return held
