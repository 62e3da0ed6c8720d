"""What of the build cache goes: by age, by size, by what a user asks for. Pure.

The cache is a list of *items*: steps with their layers, directories of cache mounts, contexts. A *rule* says which of
them may go and how much shall stay; the least recently used go first. Whoever asks for a rule to be carried out gives
the items and the disk's free space, and gets the items that go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from orlop.errors import InvalidArgument
from orlop.formats import regexp
from orlop.formats.duration import SECOND, parse_time
from orlop.formats.filters import Filters

__all__ = ["FILTERS", "BuilderGC", "GCRule", "Item", "Rule", "choose", "default_rules", "rule_of"]

FILTERS = ("description", "id", "inuse", "parent", "private", "shared", "type", "until", "unused-for")
"""The filters of a prune. There are no labels in a build cache: one is refused, where dockerd takes it for nothing."""

_FLAGS = ("inuse", "shared", "private")
_HOUR = 3600 * SECOND
_EASILY_MADE = ("source.local", "exec.cachemount", "source.git.checkout")
_DEFAULT_RESERVED = 2 * 10**9
_DEFAULT_MOST_PERCENT = 80
_DEFAULT_FREE_PERCENT = 20
_TEMPORARY = 512 * 10**6


@dataclass(frozen=True, slots=True)
class Item:
    """A part of the cache. `shared` says that something else needs it, so that its end frees nothing.

    Times are ns, `size` is bytes on the disk. `depth` is how many layers are below.
    """

    id: str
    kind: str
    description: str = ""
    parents: tuple[str, ...] = ()
    size: int = 0
    shared: bool = False
    in_use: bool = False
    created_at: int = 0
    used_at: int = 0
    uses: int = 0
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """What may go and what shall stay.

    Without `all` shared items stay. Those used within `keep_duration` (ns) stay. Of the sizes (bytes, 0 for none)
    `max_used` is what the cache may take, and less if the disk has not `min_free`, but never less than `reserved`;
    without any of them everything that matches goes. `kinds` and `fields` say what matches.
    """

    all: bool = False
    keep_duration: int = 0
    reserved: int = 0
    max_used: int = 0
    min_free: int = 0
    kinds: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)

    def matches(self, item: Item) -> bool:
        return (not self.kinds or item.kind in self.kinds) and all(
            _matches(item, name, value) for name, value in self.fields.items()
        )


@dataclass(frozen=True, slots=True)
class GCRule:
    """A rule of ``builder.gc.policy``, whose ages count from when it is carried out."""

    all: bool = False
    filters: Filters = field(default_factory=Filters)
    reserved: int = 0
    max_used: int = 0
    min_free: int = 0


@dataclass(frozen=True, slots=True)
class BuilderGC:
    """``builder.gc`` of ``daemon.json``. Sizes of 0 are the defaults of `default_rules`; no `policy` is theirs, too."""

    enabled: bool = True
    reserved: int = 0
    max_used: int = 0
    min_free: int = 0
    policy: tuple[GCRule, ...] | None = None

    def rules(self, disk: int, now: int) -> tuple[Rule, ...]:
        """Return the rules in their order, for a disk of so many bytes at the time `now` (ns)."""
        if not self.enabled:
            return ()
        if self.policy is None:
            return default_rules(disk, self.reserved, self.max_used, self.min_free)
        return tuple(
            rule_of(
                rule.filters,
                now,
                all=rule.all,
                reserved=rule.reserved or self.reserved,
                max_used=rule.max_used or self.max_used,
                min_free=rule.min_free or self.min_free,
            )
            for rule in self.policy
        )


def default_rules(disk: int, reserved: int = 0, max_used: int = 0, min_free: int = 0) -> tuple[Rule, ...]:
    """Return dockerd's rules for a disk of so many bytes: 2 GB always stay; 80 % of the disk is the most that the cache
    takes, and 20 % of it are left free.

    What is easily made again goes first when it was not used for two days and takes more than an eighth of what always
    stays (at least 512 MB); then what was not used for sixty days; then the rest, what images share at last.
    """
    reserved = reserved or _DEFAULT_RESERVED
    max_used = max_used or disk * _DEFAULT_MOST_PERCENT // 100
    min_free = min_free or disk * _DEFAULT_FREE_PERCENT // 100
    capped = Rule(reserved=reserved, max_used=max_used, min_free=min_free)
    return (
        Rule(keep_duration=48 * _HOUR, max_used=max(reserved // 8, _TEMPORARY), kinds=_EASILY_MADE),
        replace(capped, keep_duration=60 * 24 * _HOUR),
        capped,
        replace(capped, all=True),
    )


def rule_of(
    filters: Filters, now: int, *, all: bool = False, reserved: int = 0, max_used: int = 0, min_free: int = 0
) -> Rule:
    """Return the rule that a request asks for at the time `now` (ns). Raises `InvalidArgument`, in dockerd's words."""
    if filters.get("until") and filters.get("unused-for"):
        raise InvalidArgument('conflicting filters: "until" and "unused-for"')
    fields: dict[str, str] = {}
    since = now
    for name in FILTERS:
        values = filters.get(name)
        if len(values) > 1:
            raise InvalidArgument("filters expect only one value")
        if name in ("until", "unused-for"):
            since = _since(name, values[0], now) if values else since
        elif filters.has(name):
            fields[name] = values[0] if values else ""
    return Rule(all, max(0, now - since), reserved, max_used, min_free, fields=fields)


def choose(items: Iterable[Item], rule: Rule, *, now: int, free: int) -> list[Item]:
    """Return the items that go by a rule when the disk has `free` bytes left; `items` are all that there are."""
    items = list(items)
    total = sum(item.size for item in items if not item.shared)
    limit = _limit(rule, total, free)
    chosen: list[Item] = []
    for item in _by_worth(items):
        if item.in_use or not rule.matches(item) or (rule.keep_duration and now - item.used_at < rule.keep_duration):
            continue
        if item.shared and (not rule.all or limit is not None):  # its end would not bring the cache nearer to the limit
            continue
        if limit is not None and total <= limit:
            break
        chosen.append(item)
        total -= item.size
    return chosen


def _limit(rule: Rule, total: int, free: int) -> int | None:
    """Return what the cache may take, None where its size does not matter."""
    if not (rule.reserved or rule.max_used or rule.min_free):
        return None
    limit = rule.max_used or (total if rule.min_free else 0)
    if rule.min_free > free:
        limit = min(limit, total - (rule.min_free - free))
    return max(limit, rule.reserved)


def _by_worth(items: Sequence[Item]) -> list[Item]:
    """Return the items, those first that are missed least; what lies above others before these."""
    return sorted(items, key=lambda item: (item.used_at // SECOND, item.uses, -item.depth, item.id))


def _matches(item: Item, name: str, value: str) -> bool:
    if name in _FLAGS:
        flags = {"inuse": item.in_use, "shared": item.shared, "private": not item.shared}
        return flags[name] == (value.lower() not in ("0", "false", "no"))
    if name == "id":
        return _found(value, item.id)
    if name == "parent":
        return any(_found(value, parent) for parent in item.parents)
    return value == (item.kind if name == "type" else item.description)


def _found(expression: str, text: str) -> bool:
    """Tell whether a part of an id is meant; an expression that makes no sense means itself."""
    try:
        return regexp.found(expression, text)
    except regexp.BadExpression:
        return expression in text


def _since(name: str, value: str, now: int) -> int:
    try:
        return parse_time(value, now)
    except InvalidArgument as error:
        raise InvalidArgument(
            f"\"{name}\" filter expects a duration (e.g., '24h') or a timestamp: {error.message}"
        ) from None
