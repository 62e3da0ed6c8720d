"""What a Dockerfile offers: the targets that can be built, and what of arguments, secrets and caches one of them takes.

Descriptions are the comments right above, where they begin with the name: ``# build makes the program``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from orlop.build.dockerfile import tree
from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.suggest import suggested
from orlop.build.dockerfile.tree import Dockerfile, Stage

__all__ = ["outline", "targets"]

Json = dict[str, Any]
T = TypeVar("T", bound=tree.Instruction)


def targets(dockerfile: Dockerfile) -> Json:
    """Return the stages in their order: ``{"targets": [{"name", "default", "description", "base", …}]}``."""
    last = len(dockerfile.stages) - 1
    found = []
    for number, stage in enumerate(dockerfile.stages):
        target: Json = {"name": stage.name} if stage.name else {}
        if number == last:
            target["default"] = True
        if text := _described(stage.source.comment, stage.name):
            target["description"] = text
        found.append({**target, "base": stage.source.base, "platform": stage.source.platform, **_place(stage.source)})
    return {"targets": found}


def outline(dockerfile: Dockerfile, target: str = "") -> Json:
    """Return what can be given to a target, the last stage if none is named. Raises `DockerfileError`."""
    stage = _stage(dockerfile, target)
    stages = [stage, *_below(dockerfile, stage)]
    declared = {pair.name for item in _instructions(stages, tree.Arg) for pair in item.pairs}
    document: Json = {"name": stage.name} if stage.name else {}
    if text := _described(stage.source.comment, stage.name):
        document["description"] = text
    used = "".join(f"{item.source.base} {item.source.platform}" for item in stages)
    arguments = [
        _argument(item, pair)
        for item in dockerfile.arguments
        for pair in item.pairs
        if pair.name in declared or f"${pair.name}" in used or f"${{{pair.name}" in used
    ]
    known = {argument["name"] for argument in arguments}
    for item in _instructions(stages, tree.Arg):
        arguments += [_argument(item, pair) for pair in item.pairs if pair.name not in known]
        known.update(pair.name for pair in item.pairs)
    mounts = [(item, _fields(text)) for item in _instructions(stages, tree.Run) for text in item.mounts]
    document["args"] = arguments
    document["secrets"] = _named(mounts, "secret")
    document["ssh"] = _named(mounts, "ssh")
    document["cache"] = [
        {"id": fields.get("id") or _target(fields), "target": _target(fields), **_place(item)}
        for item, fields in mounts
        if fields.get("type") == "cache"
    ]
    return {key: value for key, value in document.items() if value}


def _stage(dockerfile: Dockerfile, target: str) -> Stage:
    if not target:
        return dockerfile.stages[-1]
    for stage in dockerfile.stages:
        if stage.name and stage.name == target.lower():
            return stage
    if target.isdecimal() and int(target) < len(dockerfile.stages):
        return dockerfile.stages[int(target)]
    names = [stage.name for stage in dockerfile.stages if stage.name]
    raise DockerfileError(suggested(f"target stage {target!r} could not be found", target, names, ignore_case=True))


def _below(dockerfile: Dockerfile, stage: Stage) -> list[Stage]:
    """Return the stages that a stage is built on, by FROM, COPY and mounts."""
    named = {other.name: other for other in dockerfile.stages if other.name}
    found: list[Stage] = []
    pending = [stage]
    while pending:
        current = pending.pop()
        for name in _origins(current):
            other = named.get(name.lower())
            if other is None and name.isdecimal() and int(name) < len(dockerfile.stages):
                other = dockerfile.stages[int(name)]
            if other is not None and other is not stage and all(other is not known for known in found):
                found.append(other)
                pending.append(other)
    return found


def _origins(stage: Stage) -> Iterator[str]:
    yield stage.source.base
    for item in stage.instructions:
        if isinstance(item, tree.Copy) and item.from_:
            yield item.from_
        elif isinstance(item, tree.Run):
            yield from (origin for text in item.mounts if (origin := _fields(text).get("from")))


def _instructions(stages: list[Stage], kind: type[T]) -> list[T]:
    return [item for stage in stages for item in stage.instructions if isinstance(item, kind)]


def _argument(item: tree.Arg, pair: tree.Pair) -> Json:
    argument: Json = {"name": pair.name}
    if text := pair.comment or _described(item.comment, pair.name):
        argument["description"] = text
    if pair.value is not None:
        argument["value"] = pair.value
    return {**argument, **_place(item)}


def _named(mounts: list[tuple[tree.Run, dict[str, str]]], kind: str) -> list[Json]:
    found: dict[str, Json] = {}
    for item, fields in mounts:
        if fields.get("type") != kind:
            continue
        name = fields.get("id") or ("default" if kind == "ssh" else _target(fields).rpartition("/")[2])
        entry = found.setdefault(name, {"name": name, **_place(item)})
        if fields.get("required", "false") in ("", "true", "1"):
            entry["required"] = True
    return list(found.values())


def _target(fields: dict[str, str]) -> str:
    return fields.get("target") or fields.get("dst") or fields.get("destination") or ""


def _fields(text: str) -> dict[str, str]:
    fields = [field.partition("=") for field in text.split(",")]
    return {name.strip().lower(): value for name, _, value in fields}


def _place(item: tree.Instruction) -> Json:
    return {"line": item.range.line}


def _described(comment: str, name: str) -> str:
    """Return what a comment says of `name`, "" if it does not begin with that."""
    last = comment.split("\n")[-1].strip()
    first, _, rest = last.partition(" ")
    return rest.strip() if name and first.lower() == name.lower() else ""
