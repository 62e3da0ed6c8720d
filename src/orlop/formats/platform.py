"""Platforms: operating system, architecture and variant of an image, and which of several suits a host."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from orlop.errors import InvalidArgument

__all__ = ["Platform", "choose", "host", "normalize", "parse", "parse_json"]

_PATTERN = "^[A-Za-z0-9_.-]+$"
_COMPONENT = re.compile(_PATTERN, re.ASCII)
_SYSTEM_PATTERN = r"^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.-]*)\\))?$"  # as Go quotes it
_SYSTEM = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_SYSTEMS = frozenset(
    ("aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd", "openbsd")
    + ("plan9", "solaris", "windows")
)
_KNOWN = frozenset(
    ("386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x", "wasm")
)
_ARCHITECTURES = {"i386": "386", "i686": "386", "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}
_ARM = {"armhf": "v7", "armel": "v6", "armv7l": "v7", "armv6l": "v6", "armv5l": "v5"}
_DEFAULT_VARIANTS = {"arm": "v7"}


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform in Go's names: ``linux/arm64/v8`` is Platform("linux", "arm64")."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(word for word in (self.os, self.architecture, self.variant) if word)


def normalize(platform: Platform) -> Platform:
    """Return the one spelling of a platform: ``x86_64`` is amd64, arm64 is v8 unless it says more, arm is v7."""
    system = {"macos": "darwin"}.get(platform.os.lower(), platform.os.lower())
    architecture, variant = platform.architecture.lower(), platform.variant.lower()
    if architecture in _ARM:
        architecture, variant = "arm", variant or _ARM[architecture]
    architecture = _ARCHITECTURES.get(architecture, architecture)
    if variant and variant[0].isdigit():
        variant = f"v{variant}"
    if (architecture, variant) in {("arm64", "v8"), ("amd64", "v1")}:
        variant = ""
    return Platform(system, architecture, variant or _DEFAULT_VARIANTS.get(architecture, ""))


def parse(text: str, *, machine: str = "") -> Platform:
    """Parse ``os[/architecture[/variant]]`` as `--platform` takes it. Raises `InvalidArgument`.

    A single word, system or architecture, is completed by the host whose uname(2) says `machine`.
    """
    words = text.split("/")
    if len(words) > 3:
        raise InvalidArgument(f'"{text}": cannot parse platform specifier: invalid argument')
    for index, word in enumerate(words):
        if index == 0 and not _SYSTEM.fullmatch(word):
            rule = f'OSAndVersion specifier component must match "{_SYSTEM_PATTERN}"'
            raise InvalidArgument(f'"{word}" is an invalid OS component of "{text}": {rule}: invalid argument')
        if not _COMPONENT.fullmatch(word):
            rule = f'platform specifier component must match "{_PATTERN}"'
            raise InvalidArgument(f'"{word}" is an invalid component of "{text}": {rule}: invalid argument')
    if len(words) > 1:
        return normalize(Platform(words[0], words[1], words[2] if len(words) == 3 else ""))
    return _completed(text, machine)


def _completed(word: str, machine: str) -> Platform:
    only = normalize(Platform("linux", word))
    if machine and word.lower() in (*_SYSTEMS, "macos"):
        return normalize(Platform(word, machine))
    if machine and only.architecture in _KNOWN:
        return only
    raise InvalidArgument(f'"{word}": unknown operating system or architecture: invalid argument')


def parse_json(text: str) -> Platform:
    """Parse the form that API requests have: ``{"os":"linux","architecture":"arm64"}``. Raises `InvalidArgument`."""
    try:
        document = json.loads(text)
        words = {key: document.get(key) or "" for key in ("os", "architecture", "variant")}
    except (ValueError, AttributeError, RecursionError):
        raise InvalidArgument("failed to parse platform") from None
    if not all(isinstance(word, str) for word in words.values()) or not (words["os"] and words["architecture"]):
        raise InvalidArgument("failed to parse platform")
    return normalize(Platform(words["os"], words["architecture"], words["variant"]))


def host(machine: str) -> Platform:
    """Return the platform of a Linux host whose uname(2) says `machine`."""
    return normalize(Platform("linux", machine))


def choose(wanted: Platform, candidates: Iterable[Platform]) -> int | None:
    """Return the index of the candidate that suits `wanted` best, None if none does.

    Of equal ones the first is taken. An arm host runs what is made for older variants; an amd64 host 386.
    """
    ranked = [(rank, index) for index, item in enumerate(candidates) if (rank := _rank(wanted, normalize(item))) >= 0]
    return min(ranked)[1] if ranked else None


def _rank(wanted: Platform, item: Platform) -> int:
    """Return how far `item` is from `wanted`: 0 is the same, negative does not run."""
    if wanted.os != item.os:
        return -1
    if wanted.architecture != item.architecture:
        return 100 if (wanted.architecture, item.architecture) == ("amd64", "386") else -1
    if wanted.variant == item.variant:
        return 0
    ours, theirs = _level(wanted), _level(item)
    return ours - theirs if theirs < ours else -1


def _level(platform: Platform) -> int:
    digits = platform.variant.removeprefix("v").partition(".")[0]
    if digits.isdecimal() and digits.isascii():
        return int(digits[:4])
    return {"arm64": 8, "amd64": 1}.get(platform.architecture, 0)
