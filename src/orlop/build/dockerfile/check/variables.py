"""UndefinedVar: variables that have no value where they are used."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from orlop.build.dockerfile import tree
from orlop.build.dockerfile.check.rule import warning
from orlop.build.dockerfile.expand import expand
from orlop.build.dockerfile.suggest import nearest
from orlop.build.dockerfile.tree import Dockerfile, Stage, Warning
from orlop.errors import InvalidArgument

__all__ = ["check_variables"]

_ALWAYS = frozenset(("PATH",))
_PROXIES = frozenset(
    name
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (upper, upper.lower())
)


def check_variables(dockerfile: Dockerfile, environments: Mapping[str, Collection[str]]) -> Iterator[Warning]:
    """Yield the uses of what nothing defines. `environments` are the variables that images bring, by their references;
    of a stage whose base is not among them nothing is said."""
    known_stages: dict[str, set[str] | None] = {}
    for stage in dockerfile.stages:
        base = stage.source.base
        inherited = known_stages.get(base.lower()) if base.lower() in known_stages else _from_image(base, environments)
        known = None if inherited is None else set(inherited)
        if known is not None:
            yield from _stage(stage, known, dockerfile.directives.escape)
        if stage.name:
            known_stages[stage.name] = known


def _from_image(base: str, environments: Mapping[str, Collection[str]]) -> set[str] | None:
    if base == "scratch":
        return set()
    return set(environments[base]) if base in environments else None


def _stage(stage: Stage, known: set[str], escape: str) -> Iterator[Warning]:
    for item in stage.instructions:
        for text in _texts(item):
            try:
                unset = expand(text, dict.fromkeys(known | _ALWAYS | _PROXIES, "x"), escape=escape).unset
            except InvalidArgument:
                continue  # the conversion says what is wrong
            for name in sorted(unset):
                if name and name.isidentifier() and f"${{{name}:" not in text and f"${{{name}-" not in text:
                    yield _undefined(name, known, item)
        if isinstance(item, (tree.Env, tree.Arg)):
            known.update(pair.name for pair in item.pairs)


def _texts(item: tree.Instruction) -> Iterator[str]:
    """Yield the words of an instruction that are expanded."""
    match item:
        case tree.Copy():
            yield from (*item.sources, item.destination, item.chown, item.chmod, item.from_)
        case tree.Env() | tree.Label() | tree.Arg():
            yield from (pair.value for pair in item.pairs if pair.value)
        case tree.Workdir():
            yield item.path
        case tree.User():
            yield item.user
        case tree.Volume():
            yield from item.paths
        case tree.Expose():
            yield from item.ports
        case tree.StopSignal():
            yield item.signal
        case _:
            return


def _undefined(name: str, known: Collection[str], item: tree.Instruction) -> Warning:
    close = nearest(name, sorted(known))
    text = f"Usage of undefined variable '${name}'" + (f" (did you mean ${close}?)" if close else "")
    return warning("UndefinedVar", text, item.range)
