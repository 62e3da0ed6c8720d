"""Rules on single instructions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orlop.build.dockerfile import tree
from orlop.build.dockerfile.check.rule import warning
from orlop.build.dockerfile.tree import Dockerfile, Stage, Warning
from orlop.formats.ignore import Ignore
from orlop.formats.template import go_quote

__all__ = ["check_descriptions", "check_instructions"]

_SECRET = re.compile(
    r"(?:^|_)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_PUBLIC = re.compile(r"(?:^|_)public(?:_|$)", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://|git@", re.IGNORECASE)


def check_instructions(dockerfile: Dockerfile, ignore: Ignore | None) -> Iterator[Warning]:
    """Yield the rules that each instruction is looked at for."""
    for argument in dockerfile.arguments:
        yield from _secrets(argument)
    for stage in dockerfile.stages:
        absolute, own_shell = False, False
        for item in stage.instructions:
            if isinstance(item, tree.Workdir):
                is_absolute = item.path.startswith(("/", "$"))
                if not is_absolute and not absolute and not _is_derived(stage, dockerfile):
                    text = (
                        f"Relative workdir {go_quote(item.path)} can have unexpected results if the base image changes"
                    )
                    yield warning("WorkdirRelativePath", text, item.range)
                absolute = absolute or is_absolute
            own_shell = own_shell or isinstance(item, tree.Shell)
            yield from _one(item, own_shell, ignore)


def _one(item: tree.Instruction, own_shell: bool, ignore: Ignore | None) -> Iterator[Warning]:
    if isinstance(item, tree.Command) and item.shell and not own_shell:
        name = item.name.upper()
        yield warning(
            "JSONArgsRecommended",
            f"JSON arguments recommended for {name} to prevent unintended behavior related to OS signals",
            item.range,
        )
    elif isinstance(item, tree.Maintainer):
        text = "Maintainer instruction is deprecated in favor of using label"
        yield warning("MaintainerDeprecated", text, item.range)
    elif isinstance(item, (tree.Env, tree.Label)):
        if any(not pair.equals for pair in item.pairs):
            name = item.name.upper()
            text = f'"{name} key=value" should be used instead of legacy "{name} key value" format'
            yield warning("LegacyKeyValueFormat", text, item.range)
        if isinstance(item, tree.Env):
            yield from _secrets(item)
    elif isinstance(item, tree.Arg):
        yield from _secrets(item)
    elif isinstance(item, tree.Copy):
        yield from _ignored(item, ignore)
    elif isinstance(item, tree.Expose):
        yield from _exposed(item)
    elif isinstance(item, tree.OnBuild):
        yield from _one(item.carried, own_shell, ignore)


def _secrets(item: tree.Arg | tree.Env) -> Iterator[Warning]:
    for pair in item.pairs:
        if _SECRET.search(pair.name) and not _PUBLIC.search(pair.name):
            text = f"Do not use ARG or ENV instructions for sensitive data ({item.name.upper()} {go_quote(pair.name)})"
            yield warning("SecretsUsedInArgOrEnv", text, item.range)


def _ignored(item: tree.Copy, ignore: Ignore | None) -> Iterator[Warning]:
    if ignore is None or item.from_:
        return
    for source in item.sources:
        path = source.strip("/")
        if path in ("", ".") or "$" in source or _URL.match(source):
            continue
        if ignore.ignored(path.removeprefix("./")):
            name = item.name.capitalize()
            text = f"Attempting to {name} file {go_quote(source)} that is excluded by .dockerignore"
            yield warning("CopyIgnoredFile", text, item.range)


def _exposed(item: tree.Expose) -> Iterator[Warning]:
    for port in item.ports:
        protocol = port.partition("/")[2]
        if protocol != protocol.lower():
            text = f"Defined protocol '{port}' in EXPOSE instruction should be lowercase"
            yield warning("ExposeProtoCasing", text, item.range)
        if ":" in port and "$" not in port:
            text = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
            yield warning("ExposeInvalidFormat", text, item.range)


def _is_derived(stage: Stage, dockerfile: Dockerfile) -> bool:
    """Tell whether a stage stands on another one, whose working directory this Dockerfile says."""
    for other in dockerfile.stages:
        if other is stage:
            return False
        if other.name and other.name == stage.source.base.lower():
            return any(isinstance(item, tree.Workdir) for item in other.instructions)
    return False


def check_descriptions(dockerfile: Dockerfile) -> Iterator[Warning]:
    """Yield InvalidDefinitionDescription, an experimental rule."""
    for item in dockerfile.arguments:
        yield from _argument(item)
    for stage in dockerfile.stages:
        if stage.source.comment and stage.name and not _describes(stage.source.comment, stage.name):
            yield _undescribed(stage.source.word, stage.name, stage.source.range)
        for inner in stage.instructions:
            if isinstance(inner, tree.Arg):
                yield from _argument(inner)


def _argument(item: tree.Arg) -> Iterator[Warning]:
    if item.comment and not any(_describes(item.comment, pair.name) for pair in item.pairs):
        yield _undescribed("ARG", item.pairs[0].name, item.range)


def _describes(comment: str, name: str) -> bool:
    first = comment.split("\n")[-1].strip().partition(" ")[0]
    return first.lower() == name.lower()


def _undescribed(instruction: str, name: str, place: tree.Range) -> Warning:
    text = f"Comment for {instruction} should follow the format: `# {name} <description>`"
    return warning("InvalidDefinitionDescription", text, place)
