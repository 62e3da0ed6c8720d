"""Build arguments: which there are before the first FROM, which need no declaration, which nobody asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import chain

from orlop.build.convert.errors import ConversionError, located
from orlop.build.dockerfile.expand import Expander
from orlop.build.dockerfile.scope import PLATFORM_ARGUMENTS, Scope, predefined
from orlop.build.dockerfile.tree import Arg, Dockerfile, Instruction, Pair
from orlop.build.request import BuildRequest
from orlop.errors import InvalidArgument
from orlop.formats.platform import Platform

__all__ = ["PROXIES", "epoch", "global_scope", "proxies", "unused"]

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
"""Arguments that a RUN sees without an ARG, in capitals and in small letters."""

_KNOWN = PLATFORM_ARGUMENTS | {"TARGETSTAGE", "SOURCE_DATE_EPOCH"}


def global_scope(
    dockerfile: Dockerfile, request: BuildRequest, target: Platform, host: Platform, expander: Expander
) -> Scope:
    """Return what FROM may use: platform arguments and the ARGs above it. Raises `ConversionError`."""
    scope = predefined(dockerfile, request.arguments, target, host, request.target)
    for instruction in dockerfile.arguments:
        for pair in instruction.pairs:
            value = _global_value(expander, instruction, pair, request.arguments, scope)
            if value is not None:
                scope[pair.name] = value
    return scope


def _global_value(
    expander: Expander, instruction: Arg, pair: Pair, given: Mapping[str, str | None], scope: Scope
) -> str | None:
    if pair.name in given:
        return given[pair.name]
    if pair.value is None:
        return None
    try:
        return expander.word(pair.value, scope).text
    except InvalidArgument as error:
        raise located(error, instruction.range) from error


def proxies(given: Mapping[str, str | None]) -> tuple[tuple[str, str], ...]:
    """Return the proxy variables that a RUN sees undeclared, each in capitals and in small letters."""
    found: dict[str, str] = {}
    for name in sorted(given):
        value = given[name]
        if name.upper() in PROXIES and value:
            found[name.upper()] = value
    return tuple((name, found[big]) for big in PROXIES if big in found for name in (big, big.lower()))


def epoch(request: BuildRequest, scope: Scope) -> int | None:
    """Return ``SOURCE_DATE_EPOCH`` in seconds, None without one. Raises `ConversionError`."""
    text = request.arguments.get("SOURCE_DATE_EPOCH", scope.get("SOURCE_DATE_EPOCH"))
    if not text:
        return None
    if not re.fullmatch(r"[+-]?[0-9]{1,12}", text):
        raise ConversionError(f"invalid SOURCE_DATE_EPOCH: {text}")
    return int(text)


def unused(dockerfile: Dockerfile, triggers: Iterable[Instruction], given: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return the names of arguments that no ARG declares and that mean nothing by themselves, sorted.

    An ARG of a stage that is not built counts: its author knows the name. `triggers` came with bases.
    """
    stages = (instruction for stage in dockerfile.stages for instruction in stage.instructions)
    instructions = (item for item in chain(dockerfile.arguments, stages, triggers) if isinstance(item, Arg))
    declared = {pair.name for instruction in instructions for pair in instruction.pairs}
    return tuple(sorted(name for name in given if name not in declared and not _predefined(name)))


def _predefined(name: str) -> bool:
    return name in _KNOWN or name.upper() in PROXIES or name.startswith("BUILDKIT_")
