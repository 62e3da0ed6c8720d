"""What a Dockerfile offers: the targets that can be built, and what of arguments, secrets and caches one of them takes.

Both are documents as BuildKit's ``outline`` and ``targets`` requests give them; only what is there stands in them.
Descriptions are lines of the comment right above that begin with the name: ``# build makes the program``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orlop.build.dockerfile import tree
from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.reading import Declared, Known, Reading, StageReading, Use, read
from orlop.build.dockerfile.scope import Given
from orlop.build.dockerfile.suggest import suggested
from orlop.build.dockerfile.tree import Dockerfile, Range, Stage
from orlop.build.dockerfile.usage import mount_fields
from orlop.formats.template import go_quote

__all__ = ["outline", "targets"]

Json = dict[str, Any]
_TRUE = frozenset(("", "1", "t", "T", "TRUE", "true", "True"))


def targets(dockerfile: Dockerfile) -> Json:
    """Return the stages in their order: ``{"targets": [{"name", "default", "description", "base", …}], "sources"}``."""
    last = len(dockerfile.stages) - 1
    found = [
        _without_nothing(
            name=stage.name,
            default=place == last,
            description=_description(stage),
            base=stage.source.base,
            platform=stage.source.platform,
            location=_location(stage.source.range),
        )
        for place, stage in enumerate(dockerfile.stages)
    ]
    return {"targets": found, "sources": _sources(dockerfile)}


def outline(dockerfile: Dockerfile, target: str = "", arguments: Given | None = None) -> Json:
    """Return what can be given to a target, the last stage if none is named: ``args``, ``secrets``, ``ssh``, ``cache``.

    `arguments` are build arguments that were given, which are the values then. Raises `DockerfileError`.
    """
    if not dockerfile.stages:
        raise DockerfileError("dockerfile contains no stages to build", lines=dockerfile.lines)
    reading = read(dockerfile, Known(arguments=arguments or {}, stage=target))
    place = _target(dockerfile, target)
    stages = [reading.stages[below] for below in _below(reading, place)]
    mounts = list(_mounts(stages))
    stage = dockerfile.stages[place]
    return _without_nothing(
        name=stage.name,
        description=_description(stage),
        args=[_argument(item) for item in _arguments(reading, stages)],
        secrets=_required(mounts, "secret"),
        ssh=_required(mounts, "ssh"),
        cache=_caches(mounts),
        sources=_sources(dockerfile),
    )


def _target(dockerfile: Dockerfile, target: str) -> int:
    names = {stage.name: place for place, stage in enumerate(dockerfile.stages) if stage.name}
    last = len(dockerfile.stages) - 1
    place = names.get(target.lower()) if target else last
    if place is None:
        place = _index(target, last + 1)
    if place is None:
        labels = [stage.name or f"stage-{number}" for number, stage in enumerate(dockerfile.stages)]
        message = suggested(f"target stage {go_quote(target)} could not be found", target, labels)
        raise DockerfileError(message, lines=dockerfile.lines)
    return place


def _index(text: str, count: int) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 and int(text) < count else None


def _below(reading: Reading, target: int) -> list[int]:
    """Return the places of a stage and of all that it needs, the stage first."""
    places = {stage.stage.name: place for place, stage in enumerate(reading.stages) if stage.stage.name}
    found: dict[int, None] = {}
    pending = [target]
    while pending:
        place = pending.pop()
        if place in found:
            continue
        found[place] = None
        stage = reading.stages[place]
        for name in _origins(stage):
            other = places.get(name.lower(), _index(name, len(reading.stages)))
            pending += [] if other is None else [other]
        pending += [] if stage.parent is None else [stage.parent]  # the last one: it comes next
    return list(found)


def _origins(stage: StageReading) -> Iterator[str]:
    """Yield the names that a stage takes files from."""
    for use in stage.uses:
        if isinstance(use.instruction, tree.Copy) and use.instruction.from_:
            yield use.instruction.from_
        elif isinstance(use.instruction, tree.Run):
            yield from (origin for text in use.instruction.mounts if (origin := mount_fields(text).get("from")))


def _arguments(reading: Reading, stages: Iterable[StageReading]) -> list[Declared]:
    """Return the arguments that stages take, by their lines; of those of one name that of the first stage."""
    found: dict[str, Declared] = {}
    for stage in stages:
        for item in _used(reading, stage):
            found.setdefault(item.pair.name, item)
    return sorted(found.values(), key=lambda item: item.range.line)


def _used(reading: Reading, stage: StageReading) -> Iterator[Declared]:
    """Yield what a stage declares or its FROM is made of, and what the defaults of these are made of."""
    pending = [name for word in (stage.base, stage.platform) if word is not None for name in word.used]
    for use in stage.uses:
        if isinstance(use.instruction, tree.Arg):
            pending += [pair.name for pair in use.instruction.pairs]
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        item = stage.declared.get(name) or reading.arguments.get(name)
        if item is not None and name not in seen:
            seen.add(name)
            yield item
            pending += item.needs


def _mounts(stages: Iterable[StageReading]) -> Iterator[tuple[Use, dict[str, str]]]:
    """Yield the mounts of stages, each with its fields, variables put in."""
    for stage in stages:
        for use in stage.uses:
            if not isinstance(use.instruction, tree.Run):
                continue
            values = iter(use.words)
            for text in use.instruction.mounts:
                written = mount_fields(text)
                expanded = {name: next(values) for name in written}
                yield use, {name: word.text if word else written[name] for name, word in expanded.items()}


def _required(mounts: Iterable[tuple[Use, dict[str, str]]], kind: str) -> list[Json]:
    """Return the secrets or the sockets of agents by their names, in the order of their lines."""
    found: dict[str, Json] = {}
    for use, fields in mounts:
        if fields.get("type") == kind:
            name = fields.get("id") or (_secret(fields) if kind == "secret" else "default")
            required = "required" in fields and fields["required"] in _TRUE
            place = _location(use.instruction.range)
            found.setdefault(name, _without_nothing(name=name, required=required, location=place))
    return sorted(found.values(), key=_line)


def _secret(fields: Mapping[str, str]) -> str:
    return fields.get("source") or fields.get("src") or _mounted(fields).rpartition("/")[2]


def _caches(mounts: Iterable[tuple[Use, dict[str, str]]]) -> list[Json]:
    found: dict[str, Json] = {}
    for use, fields in mounts:
        if fields.get("type") == "cache":
            name = fields.get("id") or _mounted(fields)
            found.setdefault(
                name, {"id": name, "target": _mounted(fields), "location": _location(use.instruction.range)}
            )
    return sorted(found.values(), key=_line)


def _mounted(fields: Mapping[str, str]) -> str:
    return fields.get("target") or fields.get("dst") or fields.get("destination") or ""


def _argument(item: Declared) -> Json:
    description, place = item.pair.comment, _location(item.range)
    return _without_nothing(name=item.pair.name, description=description, value=item.value, location=place)


def _description(stage: Stage) -> str:
    """Return what the comment above a stage says of it."""
    begin = f"{stage.name} "
    lines = stage.source.comment.split("\n") if stage.name else []
    return next((line.removeprefix(begin) for line in lines if line.startswith(begin)), "")


def _location(place: Range) -> Json:
    return {"ranges": [{"start": {"line": place.line}, "end": {"line": place.end}}]}


def _line(item: Json) -> int:
    line: int = item["location"]["ranges"][0]["start"]["line"]
    return line


def _sources(dockerfile: Dockerfile) -> list[str]:
    return [b64encode("".join(f"{line}\n" for line in dockerfile.lines).encode()).decode()]


def _without_nothing(**fields: object) -> Json:
    return {name: value for name, value in fields.items() if value}
