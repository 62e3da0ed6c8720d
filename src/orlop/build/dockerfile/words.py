"""The text of an instruction, taken apart: its name, flags and words, and the JSON form. Nothing is expanded."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache

__all__ = [
    "SPACE",
    "Head",
    "NotStrings",
    "blank_words",
    "first_word",
    "json_words",
    "quoted_words",
    "split_head",
    "split_once",
]

# White space as Go's unicode.IsSpace has it: str.isspace knows four control characters more.
SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
_ASCII = "\t\n\v\f\r "
_ASCII_SPACE = re.compile(f"[{_ASCII}]+")
_BLANKS = re.compile(r"[\t\v\f\r ]+")
_SURROGATES = re.compile("[\ud800-\udfff]")


class NotStrings(Exception):
    """An array in the JSON form that holds something else than strings."""


@dataclass(frozen=True, slots=True)
class Head:
    """An instruction's `word`, its `flags` with their offsets in the line, quotes and escapes removed, and the `rest`.

    `start` and `offset` are where the word and the rest begin.
    """

    word: str
    flags: tuple[tuple[int, str], ...]
    rest: str
    start: int
    offset: int


def split_head(line: str, escape: str, start: int = 0) -> Head:
    """Return the head of the instruction that begins in `line` at `start`; a lone ``--`` ends the flags."""
    line = line.rstrip(SPACE)
    start = _skip_space(line, start)
    blank = _BLANKS.search(line, start)
    if blank is None:
        return Head(line[start:], (), "", start, len(line))
    flags, offset = _flags(line, blank.end(), escape)
    offset = _skip_space(line, offset)
    return Head(line[start : blank.start()], tuple(flags), line[offset:], start, offset)


def _flags(line: str, position: int, escape: str) -> tuple[list[tuple[int, str]], int]:
    flags: list[tuple[int, str]] = []
    while True:
        position = _skip_space(line, position, _ASCII)
        if not line.startswith("--", position):
            return flags, position
        word, end = _flag(line, position, escape)
        if word == "--":
            return flags, end
        flags.append((position, word))
        position = end


def _flag(line: str, position: int, escape: str) -> tuple[str, int]:
    """Return the flag at `position` without its quotes and escapes, and where it ends."""
    word: list[str] = []
    quote = ""
    while position < len(line):
        char = line[position]
        if char == escape:
            position += 1
            word.append(line[position : position + 1])
        elif quote:
            if char == quote:
                quote = ""
            else:
                word.append(char)
        elif char in _ASCII:
            break
        elif char in "'\"":
            quote = char
        else:
            word.append(char)
        position += 1
    return "".join(word), min(position, len(line))


def blank_words(text: str) -> tuple[str, ...]:
    """Return the words between blanks: no quotes, no escapes."""
    return tuple(_BLANKS.split(text)) if text else ()


def split_once(text: str) -> tuple[str, str] | None:
    """Return the first word and what follows the blanks after it, None without blanks."""
    parts = _BLANKS.split(text, maxsplit=1)
    return (parts[0], parts[1]) if len(parts) == 2 else None


def first_word(text: str) -> tuple[str, str]:
    """Return the first word and what follows the white space after it."""
    space = _ASCII_SPACE.search(text)
    return (text[: space.start()], text[space.end() :]) if space else (text, "")


def quoted_words(text: str, escape: str) -> list[str]:
    """Return the words of `text`, split at white space outside of quotes; quotes and escapes are kept.

    A quote that nothing ends reaches to the end of the text; an escape in front of the end is dropped.
    """
    words: list[str] = []
    word: list[str] = []
    plain = _plain(escape)
    position = 0
    while position < len(text):
        char = text[position]
        end = position + 1
        if char in SPACE:
            if word:
                words.append("".join(word))
                word = []
        elif char == "'":
            end = text.find("'", end) + 1 or len(text)
            word.append(text[position:end])
        elif char == '"':
            kept, end = _double_quoted(text, position, escape)
            word.append(kept)
        elif char == escape:
            end = position + 2
            if end <= len(text):
                word.append(text[position:end])
        else:
            run = plain.match(text, position)
            end = run.end() if run else end
            word.append(text[position:end])
        position = end
    if word:
        words.append("".join(word))
    return words


def _double_quoted(text: str, position: int, escape: str) -> tuple[str, int]:
    """Return what stands in double quotes from `position` on, quotes included, and where it ends."""
    for match in _stops(escape).finditer(text, position + 1):
        if match[0] == '"':
            return text[position : match.end()], match.end()
        if match[0] == escape:  # the last character of all
            return text[position : match.start()], match.end()
    return text[position:], len(text)


def json_words(text: str) -> tuple[str, ...] | None:
    """Return the elements of the JSON form, None where `text` is no JSON array.

    Raises `NotStrings` for one that holds anything but strings.
    """
    text = text.lstrip(SPACE)
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text, parse_int=len, parse_float=len, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    words = [word for word in found if isinstance(word, str)]
    if len(words) != len(found):
        raise NotStrings
    return tuple(_SURROGATES.sub("\ufffd", word) for word in words)


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are no JSON


def _skip_space(text: str, position: int, space: str = SPACE) -> int:
    while position < len(text) and text[position] in space:
        position += 1
    return position


@cache
def _plain(escape: str) -> re.Pattern[str]:
    return re.compile(rf"[^{SPACE}'\"{re.escape(escape)}]+")


@cache
def _stops(escape: str) -> re.Pattern[str]:
    return re.compile(rf"\"|{re.escape(escape)}.?", re.DOTALL)
