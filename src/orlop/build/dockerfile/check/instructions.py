"""Rules on the instructions of stages."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from orlop.build.dockerfile import tree
from orlop.build.dockerfile.check.subject import Found, Subject
from orlop.formats.ignore import Ignore
from orlop.formats.template import go_quote

__all__ = [
    "copied_although_ignored",
    "definition_description",
    "empty_continuation",
    "expose_format",
    "json_arguments",
    "legacy_pairs",
    "maintainer",
    "relative_workdir",
    "repeated",
    "secrets",
    "undefined_variable",
]

_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_HARMLESS = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://|git@", re.IGNORECASE)
_EVERYTHING = frozenset(("*", "**", "**/*"))


def empty_continuation(subject: Subject) -> Iterator[Found]:
    for warning in subject.dockerfile.warnings:
        if warning.rule == "NoEmptyContinuation" and warning.range is not None:
            yield warning.range, warning.message


def maintainer(subject: Subject) -> Iterator[Found]:
    for instruction in subject.instructions():
        if isinstance(instruction, tree.Maintainer):
            yield instruction.range, "Maintainer instruction is deprecated in favor of using label"


def definition_description(subject: Subject) -> Iterator[Found]:
    for instruction in (*subject.dockerfile.arguments, *subject.instructions()):
        names = _defined(instruction)
        last = instruction.comment.rpartition("\n")[2]
        if names and last and last.partition(" ")[0] not in names:
            name = names[0] if len(names) == 1 else "<arg_key>"
            kind = instruction.name.upper()
            yield instruction.range, f"Comment for {kind} should follow the format: `# {name} <description>`"


def _defined(instruction: tree.Instruction) -> tuple[str, ...]:
    if isinstance(instruction, tree.From):
        return (instruction.alias,) if instruction.alias else ()
    return tuple(pair.name for pair in instruction.pairs) if isinstance(instruction, tree.Arg) else ()


def undefined_variable(subject: Subject) -> Iterator[Found]:
    for use in subject.uses():
        for name, meant in use.undefined:
            advice = f" (did you mean ${meant}?)" if meant else ""
            yield use.instruction.range, f"Usage of undefined variable '${name}'{advice}"


def secrets(subject: Subject) -> Iterator[Found]:
    for use in subject.uses():
        instruction = use.instruction
        if isinstance(instruction, tree.Env):
            names = [word.text if word is not None else "" for word in use.words[::2]]
        elif isinstance(instruction, tree.Arg):
            names = [pair.name for pair in instruction.pairs]
        else:
            continue
        for name in names:
            if _SECRET.search(name) and not _HARMLESS.search(name):
                kind = instruction.name.upper()
                text = f"Do not use ARG or ENV instructions for sensitive data ({kind} {go_quote(name)})"
                yield instruction.range, text


def legacy_pairs(subject: Subject) -> Iterator[Found]:
    for use in subject.uses():
        instruction = use.instruction
        if isinstance(instruction, (tree.Env, tree.Label)) and not all(pair.equals for pair in instruction.pairs):
            word = instruction.word
            text = f'"{word} key=value" should be used instead of legacy "{word} key value" format'
            yield instruction.range, text


def expose_format(subject: Subject) -> Iterator[Found]:
    for use in subject.uses():
        if isinstance(use.instruction, tree.Expose):
            for port in (port for word in use.words if word is not None for port in word.words):
                if port.rpartition(":")[0].strip(":"):
                    text = "EXPOSE instruction should not define an IP address or host-port mapping, found"
                    yield use.instruction.range, f"{text} '{port}'"


def json_arguments(subject: Subject) -> Iterator[Found]:
    built = {id(stage) for stage in subject.stages()}
    shells: list[bool] = []  # whether a stage ends with a shell of its own
    for stage in subject.reading.stages:
        shell = shells[stage.parent] if stage.parent is not None else stage.image is not None and stage.image.shell
        for use in stage.uses:
            instruction = use.instruction
            shell = shell or isinstance(instruction, tree.Shell)
            if isinstance(instruction, tree.Command) and instruction.shell and not shell and id(stage) in built:
                reason = "to prevent unintended behavior related to OS signals"
                yield instruction.range, f"JSON arguments recommended for {instruction.word} {reason}"
        shells.append(shell)


def repeated(subject: Subject) -> Iterator[Found]:
    for stage in subject.stages():
        earlier: dict[str, tree.Instruction] = {}
        for use in stage.uses:
            instruction = use.instruction
            if not isinstance(instruction, (tree.Command, tree.Healthcheck)):
                continue
            if instruction.name in earlier:
                reason = "should not be used in the same stage because only the last one will be used"
                yield earlier[instruction.name].range, f"Multiple {instruction.word} instructions {reason}"
            earlier[instruction.name] = instruction


def relative_workdir(subject: Subject) -> Iterator[Found]:
    built = {id(stage) for stage in subject.stages()}
    set_: list[bool] = []  # whether a stage, or one below it, has a WORKDIR
    for stage in subject.reading.stages:
        first = next((use for use in stage.uses if isinstance(use.instruction, tree.Workdir)), None)
        below = stage.parent is not None and set_[stage.parent]
        set_.append(below or first is not None)
        if first is None or below or id(stage) not in built:
            continue
        path = first.words[0]
        if path is not None and not path.text.startswith("/"):
            reason = "can have unexpected results if the base image changes"
            yield first.instruction.range, f"Relative workdir {go_quote(path.text)} {reason}"


def copied_although_ignored(subject: Subject) -> Iterator[Found]:
    ignore = subject.ignore
    if ignore is None or ignore.takes_back:
        return  # what is in a directory that is left out may be taken back in
    for use in subject.uses():
        instruction = use.instruction
        if not isinstance(instruction, tree.Copy) or instruction.from_:
            continue
        for word in use.words[: len(instruction.sources)]:
            path = "" if word is None or _REMOTE.match(word.text) else _cleaned(word.text)
            if path and _is_ignored(ignore, path):
                kind = instruction.name.capitalize()
                text = f"Attempting to {kind} file {go_quote(path)} that is excluded by .dockerignore"
                yield instruction.range, text


def _cleaned(path: str) -> str:
    return posixpath.normpath(path.lstrip("/") or ".")


def _is_ignored(ignore: Ignore, path: str) -> bool:
    if path == ".":  # the context itself is never left out, but all of it may be
        return any(pattern.text in _EVERYTHING for pattern in ignore.patterns)
    return ignore.ignored(path)
