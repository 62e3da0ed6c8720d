"""Instructions out of statements: each reader knows one instruction, its flags and how many words it takes.

The commands (RUN, CMD, ENTRYPOINT, SHELL, HEALTHCHECK) are read by `orlop.build.dockerfile.commands`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from orlop.build.dockerfile import commands, tree
from orlop.build.dockerfile.flags import read_flags
from orlop.build.dockerfile.heredoc import opening
from orlop.build.dockerfile.parts import common, exactly_one, some
from orlop.build.dockerfile.statement import Statement
from orlop.build.dockerfile.words import SPACE
from orlop.formats.template import go_quote

__all__ = ["descriptions", "instruction"]

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*")
_COPY_FLAGS = (("chown", "from", "chmod"), ("exclude",), ("link", "parents"))
_ADD_FLAGS = (("chown", "chmod", "checksum"), ("exclude",), ("link", "keep-git-dir", "unpack"))


def instruction(statement: Statement) -> tree.Instruction:
    """Return the instruction that a statement is. Raises `DockerfileError`."""
    return _READERS[statement.name](statement)


def descriptions(comment: str) -> dict[str, str]:
    """Return what the lines of the comment above an instruction say, by the name that each begins with."""
    found: dict[str, str] = {}
    for line in comment.split("\n"):
        name, blank, text = line.partition(" ")
        if name and blank:
            found.setdefault(name, text)
    return found


def _from(statement: Statement) -> tree.From:
    arguments = statement.arguments
    alias = as_word = alias_word = ""
    if len(arguments) == 3 and arguments[1].lower() == "as":
        _, as_word, alias_word = arguments
        alias = alias_word.lower()
        if not _STAGE_NAME.fullmatch(alias):
            reason = "name can't start with a number or contain symbols"
            raise statement.error(f"invalid name for build stage: {go_quote(alias_word)}, {reason}")
    elif len(arguments) != 1:
        raise statement.error("FROM requires either one or three arguments")
    flags = read_flags(statement, ("platform",))
    return tree.From(
        **common(statement),
        base=arguments[0],
        alias=alias,
        platform=flags.text("platform"),
        as_word=as_word,
        alias_word=alias_word,
    )


def _copy(statement: Statement) -> tree.Copy:
    arguments = statement.arguments
    upper = statement.name.upper()
    if len(arguments) < 2:
        message = "requires at least two arguments, but only one was provided. Destination could not be determined"
        raise statement.error(f"{upper} {message}")
    flags = read_flags(statement, *(_ADD_FLAGS if statement.name == "add" else _COPY_FLAGS))
    *sources, destination = arguments
    if not statement.json and opening(destination) is not None:
        raise statement.error(f"{upper} cannot accept a heredoc as a destination")
    named = {heredoc.name: heredoc for heredoc in statement.heredocs}
    paths: list[str] = []
    heredocs: list[tree.Heredoc] = []
    for source in sources:
        opened = None if statement.json else opening(source)
        if opened is None:
            paths.append(source)
        elif opened.name in named:
            heredocs.append(named[opened.name])
        else:
            raise statement.error(f"heredoc {source} does not begin: a quote or ${{ on its line is never ended")
    return tree.Copy(
        **common(statement, heredocs=tuple(heredocs)),
        sources=tuple(paths),
        destination=destination,
        from_=flags.text("from"),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=bool(flags.switch("link")),
        parents=bool(flags.switch("parents")),
        exclude=flags.texts("exclude"),
        keep_git_dir=flags.switch("keep-git-dir"),
        checksum=flags.text("checksum"),
        unpack=flags.switch("unpack"),
    )


def _pairs(statement: Statement) -> tuple[tree.Pair, ...]:
    read_flags(statement)
    arguments = some(statement)
    pairs = tuple(
        tree.Pair(name, value, equals=equals == "=")
        for name, value, equals in zip(arguments[::3], arguments[1::3], arguments[2::3], strict=True)
    )
    if not all(pair.name for pair in pairs):
        raise statement.error(f"{statement.name.upper()} names can not be blank")
    return pairs


def _env(statement: Statement) -> tree.Env:
    return tree.Env(**common(statement), pairs=_pairs(statement))


def _label(statement: Statement) -> tree.Label:
    return tree.Label(**common(statement), pairs=_pairs(statement))


def _arg(statement: Statement) -> tree.Arg:
    comments = descriptions("\n".join(statement.line.comments))
    pairs: list[tree.Pair] = []
    for word in some(statement):
        name, equals, value = word.partition("=")
        if equals and not name:
            raise statement.error("ARG names can not be blank")
        pairs.append(tree.Pair(name, value if equals else None, comment=comments.get(name, "")))
    return tree.Arg(**common(statement), pairs=tuple(pairs))


def _expose(statement: Statement) -> tree.Expose:
    ports = some(statement)
    read_flags(statement)
    return tree.Expose(**common(statement), ports=tuple(sorted(ports)))


def _user(statement: Statement) -> tree.User:
    user = exactly_one(statement)
    read_flags(statement)
    return tree.User(**common(statement), user=user)


def _workdir(statement: Statement) -> tree.Workdir:
    path = exactly_one(statement)
    read_flags(statement)
    return tree.Workdir(**common(statement), path=path)


def _maintainer(statement: Statement) -> tree.Maintainer:
    maintainer = exactly_one(statement)
    read_flags(statement)
    return tree.Maintainer(**common(statement), maintainer=maintainer)


def _stop_signal(statement: Statement) -> tree.StopSignal:
    return tree.StopSignal(**common(statement), signal=exactly_one(statement))


def _volume(statement: Statement) -> tree.Volume:
    arguments = some(statement)
    read_flags(statement)
    paths = tuple(path.strip(SPACE) for path in arguments)
    if not all(paths):
        raise statement.error("VOLUME specified can not be an empty string")
    return tree.Volume(**common(statement), paths=paths)


def _on_build(statement: Statement) -> tree.OnBuild:
    carried = statement.carried
    if carried is None:
        raise statement.error("ONBUILD requires at least one argument")
    read_flags(statement)
    if carried.name in ("from", "maintainer"):
        raise statement.error(f"{carried.name.upper()} isn't allowed as an ONBUILD trigger")
    expression = carried.text + "".join(f"\n{heredoc.raw}{heredoc.name}" for heredoc in statement.heredocs)
    return tree.OnBuild(**common(statement), expression=expression, carried=instruction(carried))


_READERS: dict[str, Callable[[Statement], tree.Instruction]] = {
    "add": _copy,
    "arg": _arg,
    "cmd": commands.command,
    "copy": _copy,
    "entrypoint": commands.command,
    "env": _env,
    "expose": _expose,
    "from": _from,
    "healthcheck": commands.healthcheck,
    "label": _label,
    "maintainer": _maintainer,
    "onbuild": _on_build,
    "run": commands.run,
    "shell": commands.shell,
    "stopsignal": _stop_signal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}
