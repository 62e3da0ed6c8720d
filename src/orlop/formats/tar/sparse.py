"""Maps of sparse files: the (offset, length) of their data, in GNU's four ways of writing them (tar.info, "Sparse")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from orlop.formats.tar.entry import TarError
from orlop.formats.tar.header import BLOCK, number

__all__ = ["MAX_FRAGMENTS", "Map", "check", "filled", "from_pairs", "in_body", "old_gnu"]

Map = tuple[tuple[int, int], ...]

MAX_FRAGMENTS = 1 << 17
"""More than that in one file is refused, so that no archive can fill the memory."""

_ZEROS = bytes(64 << 10)
_INVALID = "archive/tar: invalid sparse map"


def old_gnu(block: bytes, read_block: Callable[[], bytes]) -> Map:
    """Read the map of a header of type ``S`` and of the extension blocks behind it."""
    entries: list[tuple[int, int]] = []
    _add(entries, block, 386, 4)
    more = block[482]
    while more:
        if len(entries) > MAX_FRAGMENTS:
            raise TarError(_INVALID)
        extension = read_block()
        _add(entries, extension, 0, 21)
        more = extension[504]
    return tuple(entries)


def from_pairs(numbers: Iterable[bytes]) -> Map:
    """Make the map of formats 0.0 and 0.1: offsets and lengths in turn, as decimal text."""
    values = [_decimal(item) for item in numbers]
    if len(values) % 2 or len(values) > 2 * MAX_FRAGMENTS:
        raise TarError(_INVALID)
    return tuple(zip(values[::2], values[1::2], strict=True))


def in_body(read_block: Callable[[], bytes]) -> tuple[Map, int]:
    """Read the map of format 1.0 from the start of the body; return it with the bytes that it took."""
    taken = 0
    pending = b""

    def numbers(count: int) -> list[int]:
        nonlocal pending, taken
        values: list[int] = []
        while len(values) < count:
            line, newline, rest = pending.partition(b"\n")
            if newline:
                values.append(_decimal(line))
                pending = rest
            elif len(pending) > BLOCK:
                raise TarError(_INVALID)
            else:
                pending += read_block()
                taken += BLOCK
        return values

    (count,) = numbers(1)
    if count > MAX_FRAGMENTS:
        raise TarError(_INVALID)
    values = numbers(2 * count)
    return tuple(zip(values[::2], values[1::2], strict=True)), taken


def check(map_: Map, size: int, stored: int) -> Map:
    """Return the map if it is in order, within a file of `size` bytes and of `stored` bytes in all."""
    position = total = 0
    for offset, length in map_:
        if offset < position or offset + length > size:
            raise TarError(_INVALID)
        position = offset + length
        total += length
    if total != stored:
        raise TarError(_INVALID)
    return map_


def _add(entries: list[tuple[int, int]], block: bytes, start: int, count: int) -> None:
    for position in range(start, start + 24 * count, 24):
        if block[position + 12] == 0:  # an empty length ends the list
            return
        offset, length = number(block[position : position + 12]), number(block[position + 12 : position + 24])
        if offset < 0 or length < 0:
            raise TarError(_INVALID)
        entries.append((offset, length))


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise TarError(_INVALID)
    return int(text)


def filled(map_: Map, size: int, blocks: Iterable[memoryview]) -> Iterator[bytes | memoryview]:
    """Yield a whole file of `size` bytes, holes as zeros, of the `blocks` of its data and of a map that was checked."""
    position = left = 0
    fragments = iter(map_)
    for block in blocks:
        while block:
            while not left:
                offset, left = next(fragments)
                yield from _zeros(offset - position)
                position = offset
            part, block = block[:left], block[left:]
            position += len(part)
            left -= len(part)
            yield part
    yield from _zeros(size - position)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield _ZEROS[:count]
        count -= len(_ZEROS)
