"""The ``filters`` of list, prune and event requests: a map from a key to the values asked for.

Clients send it as JSON in one of two forms, ``{"label": {"a=b": true}}`` (today's) and ``{"label": ["a=b"]}``. Values
of one key are alternatives, except for labels, which must all match; keys must all match. The methods carry the
meaning that Docker gives each kind of key: exact, prefix, regular expression, label, truth value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orlop.errors import InvalidArgument
from orlop.formats import regexp

__all__ = ["Filters"]

_TRUE = ("1", "true")
_FALSE = ("0", "false")


@dataclass(frozen=True, slots=True)
class Filters:
    """Parsed filters; empty ones match everything."""

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, allowed: Iterable[str] | None = None) -> Filters:
        """Parse the JSON `text` of a request (empty: no filters).

        Raises `InvalidArgument` when it is malformed or has a key that is not in `allowed` (None: every key is good).
        """
        if not text:
            return cls()
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise InvalidArgument("invalid filter") from None
        if document is None:
            return cls()
        if not isinstance(document, dict):
            raise InvalidArgument("invalid filter")
        fields = {key: _values(value) for key, value in document.items()}
        known = fields.keys() if allowed is None else frozenset(allowed)
        for key in fields:
            if key not in known:
                raise InvalidArgument(f"invalid filter '{key}'")
        return cls(fields)

    @classmethod
    def of(cls, **fields: str | Iterable[str]) -> Filters:
        """Make filters in the program: ``Filters.of(label=["a", "b"], dangling="true")``."""
        return cls({key: (value,) if isinstance(value, str) else tuple(value) for key, value in fields.items()})

    def __bool__(self) -> bool:
        return bool(self.fields)

    def get(self, key: str) -> tuple[str, ...]:
        """Return the values of `key`, none if it was not given."""
        return self.fields.get(key, ())

    def has(self, key: str) -> bool:
        """Tell whether `key` was given (perhaps without a value)."""
        return key in self.fields

    def exact(self, key: str, value: str) -> bool:
        """Tell whether `value` is one of those asked for; true when none were."""
        wanted = self.get(key)
        return not wanted or value in wanted

    def any_exact(self, key: str, values: Iterable[str]) -> bool:
        """Tell whether at least one of `values` is asked for; true when none were."""
        wanted = self.get(key)
        return not wanted or any(value in wanted for value in values)

    def prefix(self, key: str, value: str) -> bool:
        """Tell whether `value` starts with one of those asked for; true when none were."""
        wanted = self.get(key)
        return not wanted or value.startswith(wanted)

    def contains(self, key: str, value: str) -> bool:
        """Tell whether one of those asked for is a part of `value`; true when none were."""
        wanted = self.get(key)
        return not wanted or any(part in value for part in wanted)

    def regex(self, key: str, value: str) -> bool:
        """Tell whether `value` is one of those asked for or matches one as a regular expression; true when none were.

        An expression that is malformed matches nothing but itself.
        """
        wanted = self.get(key)
        return not wanted or any(_search(expression, value) for expression in wanted)

    def match_labels(self, labels: Mapping[str, str] | None, key: str = "label") -> bool:
        """Tell whether `labels` has every ``name`` or ``name=value`` that is asked for under `key`."""
        return all(_has_label(labels or {}, wanted) for wanted in self.get(key))

    def match_prune_labels(self, labels: Mapping[str, str] | None) -> bool:
        """Tell whether an object with `labels` may be pruned: all of ``label`` and none of ``label!``."""
        if not self.match_labels(labels):
            return False
        return not any(_has_label(labels or {}, unwanted) for unwanted in self.get("label!"))

    def boolean(self, key: str, default: bool = False) -> bool:
        """Return the truth value of `key`. Raises `InvalidArgument` when it is none, or both."""
        wanted = self.get(key)
        if not wanted and not self.has(key):
            return default
        true = any(value in _TRUE for value in wanted)
        false = any(value in _FALSE for value in wanted)
        if true == false:
            raise _invalid(key, wanted)
        return true

    def single(self, key: str) -> str | None:
        """Return the one value of `key`, None when there is none. Raises `InvalidArgument` when there are more."""
        wanted = self.get(key)
        if len(wanted) > 1:
            raise _invalid(key, wanted)
        return wanted[0] if wanted else None


def _values(value: object) -> tuple[str, ...]:
    """Return the values of one key in either form. In the first only the keys count, as in Docker."""
    if value is None:
        return ()
    if isinstance(value, dict):
        if not all(isinstance(flag, bool) for flag in value.values()):
            raise InvalidArgument("invalid filter")
        return tuple(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(dict.fromkeys(value))
    raise InvalidArgument("invalid filter")


def _invalid(key: str, values: tuple[str, ...]) -> InvalidArgument:
    value = f"=[{' '.join(values)}]" if values else ""
    return InvalidArgument(f"invalid filter '{key}{value}'")


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    name, separator, value = wanted.partition("=")
    return name in labels and (not separator or labels[name] == value)


def _search(expression: str, value: str) -> bool:
    if expression == value:
        return True
    try:
        return regexp.found(expression, value)
    except regexp.BadExpression:
        return False
