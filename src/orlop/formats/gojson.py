"""Why a text is no JSON, in the words of Go's decoder, which clients of Docker have come to know."""

from __future__ import annotations

import re

__all__ = ["explain"]

_SPACE = re.compile(rb"[ \t\r\n]*")
_STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORDS = (b"true", b"false", b"null")
_END = "unexpected EOF"
_DEPTH = 10_000


class _Wrong(Exception):
    """Where the text stops being JSON, and what was looked for there."""

    def __init__(self, position: int, where: str) -> None:
        super().__init__(where)
        self.position = position
        self.where = where


def explain(data: bytes) -> str:
    """Return what is wrong with the first JSON value of `data`, "" if it is whole; what follows it is not looked at."""
    try:
        _Scanner(data).run()
    except _Wrong as wrong:
        if wrong.position >= len(data):
            return _END
        return f"invalid character {_quoted(data, wrong.position)} {wrong.where}"
    return ""


def _quoted(data: bytes, position: int) -> str:
    """Return the byte at `position` as Go's decoder shows it."""
    byte = data[position : position + 1]
    if byte in (b"'", b'"'):
        return {b"'": r"'\''", b'"': "'\"'"}[byte]
    escapes = {b"\n": r"\n", b"\r": r"\r", b"\t": r"\t", b"\\": r"\\", b"\b": r"\b", b"\f": r"\f", b"\v": r"\v"}
    code = byte[0]
    if byte in escapes:
        return f"'{escapes[byte]}'"
    if code < 0x20 or code == 0x7F:
        return rf"'\x{code:02x}'"
    if 0x80 <= code < 0xA0:
        return rf"'\u{code:04x}'"
    return f"'{chr(code)}'"


class _Scanner:
    """Walks through one value without making anything of it; what is open stands in a list, not on the stack."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.open: list[bytes] = []

    def run(self) -> None:
        while True:
            opened = self.value()
            while not opened:
                if not self.open:
                    return
                opened = self.after_value()
            if len(self.open) > _DEPTH:
                raise _Wrong(self.position - 1, "exceeded max depth")

    def value(self) -> bool:
        """Read a value; True if another one has to follow at once, because something was opened."""
        byte = self.next()
        if byte == b"{":
            self.position += 1
            if self.next() == b"}":
                self.position += 1
                return False
            self.open.append(b"{")
            self.key("looking for beginning of object key string")
            return True
        if byte == b"[":
            self.position += 1
            if self.next() == b"]":
                self.position += 1
                return False
            self.open.append(b"[")
            return True
        if byte == b'"':
            self.string()
        elif byte == b"-" or byte.isdigit():
            self.number()
        else:
            self.word(byte)
        return False

    def after_value(self) -> bool:
        """Read what follows a value in an object or array; True if another value has to follow."""
        within = self.open[-1]
        byte = self.next()
        if byte == b",":
            self.position += 1
            if within == b"{":
                self.key("looking for beginning of object key string")
            return True
        if byte == (b"}" if within == b"{" else b"]"):
            self.position += 1
            self.open.pop()
            return False
        where = "after object key:value pair" if within == b"{" else "after array element"
        raise _Wrong(self.position, where)

    def key(self, where: str) -> None:
        if self.next() != b'"':
            raise _Wrong(self.position, where)
        self.string()
        if self.next() != b":":
            raise _Wrong(self.position, "after object key")
        self.position += 1

    def next(self) -> bytes:
        """Skip white space; return the byte that follows, b"" at the end."""
        space = _SPACE.match(self.data, self.position)
        self.position = space.end() if space else self.position
        return self.data[self.position : self.position + 1]

    def string(self) -> None:
        found = _STRING.match(self.data, self.position)
        assert found is not None  # the caller has seen the quotation mark
        end = found.end()
        byte = self.data[end : end + 1]
        if byte == b'"':
            self.position = end + 1
            return
        if byte != b"\\":
            raise _Wrong(end, "in string literal")
        if self.data[end + 1 : end + 2] != b"u":
            raise _Wrong(end + 1, "in string escape code")
        digits = re.compile(rb"[0-9a-fA-F]{0,4}").match(self.data, end + 2)
        raise _Wrong(digits.end() if digits else end + 2, r"in \u hexadecimal character escape")

    def number(self) -> None:
        found = _NUMBER.match(self.data, self.position)
        if found is None:
            raise _Wrong(self.position + 1, "in numeric literal")
        end = found.end()
        byte = self.data[end : end + 1]
        if byte == b"." and found[1] is None and found[2] is None:
            raise _Wrong(end + 1, "after decimal point in numeric literal")
        if byte in (b"e", b"E") and found[2] is None:
            signed = self.data[end + 1 : end + 2] in (b"+", b"-")
            raise _Wrong(end + 1 + signed, "in exponent of numeric literal")
        self.position = end

    def word(self, first: bytes) -> None:
        word = next((word for word in _WORDS if first and word.startswith(first)), b"")
        if not word:
            raise _Wrong(self.position, "looking for beginning of value")
        for offset in range(1, len(word)):
            if self.data[self.position + offset : self.position + offset + 1] != word[offset : offset + 1]:
                where = f"in literal {word.decode()} (expecting {chr(word[offset])!r})"
                raise _Wrong(self.position + offset, where)
        self.position += len(word)
