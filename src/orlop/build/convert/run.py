"""RUN: the command that is carried out, its environment and its mounts."""

from __future__ import annotations

import posixpath
from collections import ChainMap
from collections.abc import Sequence
from typing import Literal

from orlop.build.convert import history, mounts
from orlop.build.convert.building import Building
from orlop.build.convert.mounts import MountFields
from orlop.build.convert.names import command_shown, heredoc_summary, upper_first
from orlop.build.convert.stages import Bound, Source
from orlop.build.dockerfile import tree
from orlop.build.dockerfile.heredoc import opening
from orlop.build.graph import Context, Exec, Mount, NodeFiles
from orlop.errors import InvalidArgument
from orlop.formats.template import go_quote

__all__ = ["run"]

Network = Literal["default", "none", "host"]

_SCRIPTS = "/dev/pipes"
_NETWORKS: dict[str, Network] = {"default": "default", "none": "none", "host": "host"}
_WHOLE_BUILD = {"": "default", "bridge": "default", "sandbox": "default"}


def run(stage: Building, bound: Bound, instruction: tree.Run) -> None:
    """Append the step of a RUN. Raises `InvalidArgument`."""
    command, script, shown = _command(stage, instruction)
    fields = [mounts.parse(text, stage.expand) for text in instruction.mounts]
    made = _mounts(stage, fields, bound.sources)
    request = stage.around.request
    node = Exec(
        stage.node,
        command,
        _environment(stage, made),
        stage.directory,
        stage.config.get("User") or "",
        script,
        made,
        network=_network(instruction.network, request.network),
        insecure=instruction.security == "insecure",
        host_names=tuple(host.partition(":")[0] for host in request.hosts),
        ulimits=request.ulimits,
        shm_size=request.shm_size,
        platform=str(stage.platform),
        argument_names=stage.argument_names(),
        proxies=tuple(f"{name}={value}" for name, value in stage.around.proxies if name not in stage.variables),
        hosts=request.hosts,
        hostname=request.arguments.get("BUILDKIT_SANDBOX_HOSTNAME") or "",
    )
    values = {name: stage.variables.get(name, value) for name, value in stage.arguments.items()}
    entry = history.run(command, values)
    secrets = {field.env or field.id: "****" for field in fields if field.kind == "secret" and field.env is not None}
    shown = command_shown(shown, ChainMap(secrets, stage.variables))
    stage.grow(bound, node, upper_first(shown), entry)


def _command(stage: Building, instruction: tree.Run) -> tuple[tuple[str, ...], tuple[str, bytes] | None, str]:
    """Return the command, the script that it is, and the line that is shown of it."""
    words, shown = instruction.words, instruction.original.strip()
    if not instruction.shell:
        return words, None, shown
    line = " ".join(words)
    heredocs = instruction.heredocs
    if heredocs and opening(line) is not None:
        text = heredocs[0].text
        shown += f" ({heredoc_summary(text)})"
        if text.startswith("#!"):
            path = posixpath.join(_SCRIPTS, heredocs[0].name)
            return (*stage.shell, path), (path, text.encode(errors="replace")), shown
        line = text
    else:
        line += "".join(f"\n{heredoc.text}{heredoc.name}" for heredoc in heredocs)
    return (*stage.shell, line), None, shown


def _mounts(stage: Building, fields: Sequence[MountFields], sources: Sequence[Source | None]) -> tuple[Mount, ...]:
    made: list[Mount] = []
    sockets = 0
    namespace = stage.around.request.arguments.get("BUILDKIT_CACHE_MOUNT_NS") or ""
    for field, source in zip(fields, sources, strict=True):
        input = _input(stage, field, source)
        made.append(mounts.made(field, input, stage.directory, namespace, sockets))
        sockets += field.kind == "ssh"
    return tuple(made)


def _input(stage: Building, field: MountFields, source: Source | None) -> Context | NodeFiles | None:
    if source is None:
        return Context() if field.kind == "bind" else None
    found = stage.source_files(source)
    if found is None:
        which = f"{go_quote(field.from_)} to {go_quote(field.target)}"
        raise InvalidArgument(f"cannot mount from stage {which}, stage needs to be defined before current command")
    return found if field.kind in ("bind", "cache") else None


def _environment(stage: Building, made: Sequence[Mount]) -> tuple[str, ...]:
    sockets = [mount.target for mount in made if mount.kind == "ssh"]
    if not sockets or "SSH_AUTH_SOCK" in stage.variables:
        return stage.environment()
    stage.around.expander.spend(8 * len(stage.variables))
    return (*stage.environment(), f"SSH_AUTH_SOCK={sockets[0]}")


def _network(own: str, whole: str) -> Network:
    """Return a step's network: its own flag, or what the whole build was given."""
    mode = own if own in ("none", "host") else _WHOLE_BUILD.get(whole, whole)
    if mode not in _NETWORKS:
        raise InvalidArgument(f"network mode {go_quote(whole)} not supported by buildkit")
    return _NETWORKS[mode]
