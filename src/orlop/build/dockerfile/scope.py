"""Scopes of variables: names and values, as ARG, ENV and the platforms of a build make them.

The *global* scope holds the platform arguments and the ARGs above the first FROM; it is seen by FROM, and by an ARG of
a stage that has no value of its own (Dockerfile reference, "ARG: scope").
"""

from __future__ import annotations

from collections.abc import Mapping

from orlop.build.dockerfile.tree import Dockerfile, Pair
from orlop.formats.platform import Platform

__all__ = ["DEFAULT_PATH", "NOT_VARIABLES", "PLATFORM_ARGUMENTS", "Given", "Scope", "argument_value", "predefined"]

Scope = dict[str, str]

Given = Mapping[str, str | None]
"""Build arguments of the client; None is one that was named without a value."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of a stage whose base says nothing of it."""

NOT_VARIABLES = frozenset(("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"))
"""Arguments that are no variables, even where they are declared."""

_PLATFORM_NAMES = ("PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT")

PLATFORM_ARGUMENTS = frozenset(prefix + name for prefix in ("BUILD", "TARGET") for name in _PLATFORM_NAMES)


def predefined(dockerfile: Dockerfile, given: Given, target: Platform, host: Platform, stage: str = "") -> Scope:
    """Return the arguments that are there without an ARG. `stage` is the one that is built, "" for the last."""
    stage = stage or (dockerfile.stages[-1].name if dockerfile.stages else "") or "default"
    scope = {**_platform("BUILD", host), **_platform("TARGET", target), "TARGETSTAGE": stage}
    return scope | {name: value for name in scope if (value := given.get(name)) is not None}


def argument_value(pair: Pair, given: Given, scope: Mapping[str, str]) -> tuple[str | None, bool]:
    """Return the value of an ARG in a stage, and whether it is a default that is yet to be expanded.

    What the client gave comes first; an argument that it named without a value has none, default or not, except from
    the global `scope`.
    """
    if pair.name in given:
        value = given[pair.name]
        return (scope.get(pair.name) if value is None else value), False
    if pair.value is not None:
        return pair.value, True
    return scope.get(pair.name), False


def _platform(prefix: str, platform: Platform) -> Scope:
    values = (str(platform), platform.os, "", platform.architecture, platform.variant)
    return {prefix + name: value for name, value in zip(_PLATFORM_NAMES, values, strict=True)}
