"""Everything that a build needs from this machine, on its way to the daemon, each part a vertex of the progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from orlop.cli.build.context import read_context
from orlop.cli.build.digests import Digests, cache_path
from orlop.cli.build.display import Progress
from orlop.cli.build.dockerfile import Dockerfile, Rules, read_ignore
from orlop.cli.build.sources import Source, is_remote, rest_of
from orlop.cli.build.upload import send_context
from orlop.cli.failure import CommandError
from orlop.client import calls
from orlop.client.engine import Engine
from orlop.errors import Error

__all__ = ["send_sources"]

Json = dict[str, Any]
T = TypeVar("T")

_IMAGE = "docker-image://"
_UNSERVED = ("oci-layout://", "target:")


def send_sources(
    engine: Engine, source: Source, named: dict[str, str], progress: Progress, *, files: bool = True
) -> Json:
    """Send the contexts; return the fields of the request that name them.

    `named` are the named contexts as they were written. Without `files` the directories stay here: a Dockerfile that
    is only to be looked at needs none. Raises `CommandError` and `Error`.
    """
    chosen = {name: _image_of(name, value) for name, value in named.items()}
    body: Json = {"Origin": source.origin}
    if source.name:
        body["DockerfileName"] = source.name
    if source.dockerfile is not None:
        _show_definition(source.dockerfile, progress)
        body["Dockerfile"] = source.dockerfile.text
    if source.remote:
        body["Remote"] = source.remote
    elif source.archive:
        body["Context"] = _send_archive(engine, source.archive, progress)
    elif source.directory:
        rules = read_ignore(source.directory, source.dockerfile)
        if rules.path:
            body["Ignore"] = str(rules.ignore).encode(errors="replace").decode()
        if files:
            body["Context"] = _send_directory(engine, source.directory, rules, "", progress)
    for name, value in named.items():
        if chosen[name] is None and files:
            directory = os.path.realpath(value)
            chosen[name] = _send_directory(engine, directory, read_ignore(directory, None), name, progress)
    return {**body, "Contexts": chosen} if chosen and files else body


def _image_of(name: str, value: str) -> str | None:
    """Return the image that a named context is, None for a directory. Raises `CommandError` for what is neither."""
    if value.startswith(_IMAGE):
        return value.removeprefix(_IMAGE)
    if value.startswith(_UNSERVED) or is_remote(value):
        raise CommandError(
            f"--build-context {name}={value} is not in this version of Orlop: there are directories and {_IMAGE}IMAGE"
        )
    if not os.path.isdir(value):
        raise CommandError(f'unable to prepare context: --build-context {name}: path "{value}" not found')
    return None


def _show_definition(dockerfile: Dockerfile, progress: Progress) -> None:
    vertex = "definition"
    progress.began(vertex, f"[internal] load build definition from {os.path.basename(dockerfile.path) or 'stdin'}")
    progress.transfer(vertex, "reading dockerfile:", dockerfile.size, done=True)
    progress.ended(vertex)


def _send_archive(engine: Engine, begin: bytes, progress: Progress) -> str:
    """Pass standard input on; the daemon unpacks it."""

    def send(vertex: str) -> str:
        sent = 0

        def pieces() -> Any:
            nonlocal sent
            for piece in rest_of(begin, sys.stdin.buffer):
                yield piece
                sent += len(piece)
                progress.transfer(vertex, "transferring context:", sent)

        answer = engine.do(calls.build_context_tar(pieces()))
        progress.transfer(vertex, "transferring context:", sent, done=True)
        return str(answer["Id"])

    return _as_vertex(progress, "context", "[internal] load build context from stdin", send)


def _send_directory(engine: Engine, directory: str, rules: Rules, name: str, progress: Progress) -> str:
    def send(vertex: str) -> str:
        if rules.path:
            progress.transfer(vertex, f"reading {os.path.basename(rules.path)}:", rules.size, done=True)
        context = read_context(
            directory,
            rules.ignore,
            Digests(cache_path(directory, rules.path, os.environ)),
            lambda files, read: progress.transfer(vertex, "reading context:", read, hashed=files),
        )
        label = "transferring context:"
        sent = send_context(engine, context, lambda done, total: progress.transfer(vertex, label, done, total))
        progress.transfer(vertex, label, sent.bytes, sent.bytes, done=True, hashed=context.hashed, files=sent.files)
        return sent.id

    title = f"[context {name}] load from client" if name else "[internal] load build context"
    return _as_vertex(progress, f"context {name}".rstrip(), title, send)


def _as_vertex(progress: Progress, vertex: str, name: str, work: Callable[[str], T]) -> T:
    progress.began(vertex, name)
    try:
        result = work(vertex)
    except (CommandError, Error) as error:
        progress.ended(vertex, error.message)
        raise
    progress.ended(vertex)
    return result
