"""The directive ``builder`` of ``daemon.json``: how much of the build cache is kept, what steps may ask for. Pure.

Texts of errors are dockerd's where it has some; what it passes over, a key that it does not know, is refused.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from orlop.build.policy import FILTERS, BuilderGC, GCRule, rule_of
from orlop.errors import InvalidArgument
from orlop.formats.filters import Filters
from orlop.formats.units import parse_binary_size

__all__ = ["parse_builder"]

_DEFAULTS = ("defaultReservedSpace", "defaultMaxUsedSpace", "defaultMinFreeSpace", "defaultKeepStorage")
_SIZES = ("reservedSpace", "maxUsedSpace", "minFreeSpace", "keepStorage")


def parse_builder(document: Any) -> tuple[BuilderGC, bool]:
    """Return how the cache is collected, and whether steps may ask for ``--security=insecure``.

    Raises `InvalidArgument`.
    """
    builder = _object(document, "builder", ("gc", "entitlements", "history"))
    if builder.get("history"):
        raise InvalidArgument('orlopd does not have the directive "builder.history": builds are not recorded')
    return _gc(builder), _insecure(builder.get("entitlements") or {})


def _insecure(document: Any) -> bool:
    entitlements = _object(document, "builder.entitlements", ("network-host", "security-insecure", "device"))
    for key, value in entitlements.items():
        if not isinstance(value, bool | None):
            raise InvalidArgument(f"builder.entitlements.{key}: expected true or false")
    for key, lacking, reason in (
        ("network-host", False, "steps may always ask for the host's network"),
        ("device", True, "steps get no devices"),
    ):
        if entitlements.get(key) is lacking:
            value = str(lacking).lower()
            raise InvalidArgument(f'orlopd does not have the directive "builder.entitlements.{key}" {value}: {reason}')
    return bool(entitlements.get("security-insecure"))


def _gc(builder: Mapping[str, Any]) -> BuilderGC:
    gc = _object(builder.get("gc") or {}, "builder.gc", ("enabled", "policy", *_DEFAULTS))
    enabled, policy = gc.get("enabled", True), gc.get("policy")
    if not isinstance(enabled, bool):
        raise InvalidArgument("builder.gc.enabled: expected true or false")
    if policy is not None and not isinstance(policy, list):
        raise InvalidArgument("builder.gc.policy: expected a list of rules")
    reserved, max_used, min_free = _sizes(gc, _DEFAULTS, "Builder.GC.")
    rules = None if policy is None else tuple(_rule(rule) for rule in policy)
    return BuilderGC(enabled, reserved, max_used, min_free, rules)


def _rule(document: Any) -> GCRule:
    rule = _object(document, "builder.gc.policy", ("all", "filter", *_SIZES))
    everything = rule.get("all", False)
    if not isinstance(everything, bool):
        raise InvalidArgument("builder.gc.policy: all: expected true or false")
    filters = _filters(rule.get("filter") or [])
    rule_of(filters, time.time_ns())  # it is checked now and meant later
    reserved, max_used, min_free = _sizes(rule, _SIZES, "Builder.GC.Policy.")
    return GCRule(everything, filters, reserved, max_used, min_free)


def _filters(document: Any) -> Filters:
    """Return the filters, written ``["name=value"]`` or, as once, ``{"name": {"value": true}}``."""
    fields: dict[str, tuple[str, ...]] = {}
    if isinstance(document, dict):
        fields = {str(name): tuple(map(str, values)) for name, values in document.items()}
    elif isinstance(document, list) and all(isinstance(entry, str) for entry in document):
        for entry in document:
            name, _, value = entry.partition("=")
            name = name.strip().lower()
            fields[name] = (*fields.get(name, ()), value.strip())
    else:
        raise InvalidArgument("builder.gc.policy: filter: expected a list of strings")
    for name in fields:
        if name not in FILTERS:
            raise InvalidArgument(f"invalid filter '{name}'")
    return Filters(fields)


def _sizes(document: Mapping[str, Any], names: tuple[str, ...], place: str) -> tuple[int, int, int]:
    """Return what is reserved, the most that is used and what stays free; the last of `names` is an old one for the
    first."""
    values = [_size(document.get(name), f"{place}{name[0].upper()}{name[1:]}") for name in names]
    return values[0] or values[3], values[1], values[2]


def _size(value: Any, name: str) -> int:
    if value in (None, ""):
        return 0
    if not isinstance(value, str):
        raise InvalidArgument(f"{name}: expected a size such as 20GB, got {value!r}")
    try:
        return parse_binary_size(value)
    except InvalidArgument as error:
        raise InvalidArgument(f"could not parse '{value}' as {name} config: {error.message}") from None


def _object(document: Any, name: str, known: tuple[str, ...]) -> dict[str, Any]:
    """Return an object, its keys as they are spelled here, whatever case they were written in, as in Go."""
    if not isinstance(document, dict):
        raise InvalidArgument(f"{name}: expected an object")
    spelled = {key.lower(): key for key in known}
    unknown = [key for key in document if key.lower() not in spelled]
    if unknown:
        names = ", ".join(f"{name}.{key}" for key in unknown)
        raise InvalidArgument(f"the following directives don't match any configuration option: {names}")
    return {spelled[key.lower()]: value for key, value in document.items()}
