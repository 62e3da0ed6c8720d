"""What a build is made of: the text of the Dockerfile and the contexts, wherever they come from."""

from __future__ import annotations

import asyncio
import os
import posixpath
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orlop.build.files.manifest import Item, Manifest
from orlop.build.files.store import ContextStore
from orlop.engine.builds.remote import fetch_remote
from orlop.engine.builds.requests import DEFAULT_NAME, ClassicBuild
from orlop.errors import Error, InvalidArgument
from orlop.formats.digest import Digest
from orlop.formats.ignore import Ignore
from orlop.formats.tar.entry import Kind
from orlop.model.api.build import BuildCreate

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["Source", "classic_source", "own_source"]

MAX_DOCKERFILE = 16 << 20
_IGNORE = ".dockerignore"
_MADE_UP = re.compile(r"\.dockerfile\.[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a Dockerfile and its name, and the contexts by name, "" for the build's own."""

    dockerfile: str
    path: str
    contexts: Mapping[str, Manifest] = field(default_factory=dict)


async def classic_source(
    engine: Engine, asked: ClassicBuild, body: AsyncIterator[bytes] | None, stack: ExitStack
) -> Source:
    """Return what a `POST /build` is made of, which `stack` holds. Raises `errors.Error` with dockerd's texts."""
    contexts = engine.builds.contexts
    with contexts.store.growing():
        if asked.remote:
            remote = await fetch_remote(engine, asked.remote)
            if remote.dockerfile is not None:
                return _only_dockerfile(contexts.store, remote.dockerfile, stack)
            manifest, whole = remote.manifest, remote.whole
        else:
            manifest, whole = (await contexts.take_tar(body)).manifest if body is not None else Manifest(()), False
        stack.callback(contexts.store.hold(manifest).release)
        return await asyncio.to_thread(_classic, contexts.store, manifest, asked.path, whole, stack)


async def own_source(engine: Engine, body: BuildCreate, stack: ExitStack) -> Source:
    """Return what a `POST /orlop/build` is made of, which `stack` holds. Raises `errors.Error`."""
    with engine.builds.contexts.store.growing():
        return await _own(engine, body, stack)


async def _own(engine: Engine, body: BuildCreate, stack: ExitStack) -> Source:
    contexts = engine.builds.contexts
    named = {name: contexts.get(id) for name, id in (body.contexts or {}).items() if contexts.knows(id)}
    manifest = contexts.get(body.context) if body.context else Manifest(())
    path = body.dockerfile_name or DEFAULT_NAME
    if body.remote:
        remote = await fetch_remote(engine, body.remote)
        if remote.dockerfile is not None:
            return _only_dockerfile(contexts.store, remote.dockerfile, stack)
        manifest = remote.manifest
    for held in (manifest, *named.values()):
        stack.callback(contexts.store.hold(held).release)
    if body.dockerfile is None:
        path, text = await asyncio.to_thread(_dockerfile, contexts.store, manifest, path)
    else:
        text = body.dockerfile
    if body.remote:
        manifest = await asyncio.to_thread(_filtered, contexts.store, manifest, path, body.ignore)
    return Source(text, path, {"": manifest, **named})


# The Dockerfile


def _classic(store: ContextStore, manifest: Manifest, path: str, whole: bool, stack: ExitStack) -> Source:
    path, text = _dockerfile(store, manifest, path)
    if whole:
        manifest = _filtered(store, manifest, path, None)
    else:
        manifest = _without_listed(store, manifest, path, stack)
    return Source(text, DEFAULT_NAME if _MADE_UP.fullmatch(path) else path, {"": manifest})


def _dockerfile(store: ContextStore, manifest: Manifest, path: str) -> tuple[str, str]:
    """Return the path and the text of the Dockerfile of a context; ``dockerfile`` does for ``Dockerfile``."""
    clean = posixpath.normpath(path.lstrip("/"))
    if clean == ".." or clean.startswith("../"):
        raise InvalidArgument(f"Forbidden path outside the build context: {path} ()")
    data = _read(store, manifest, clean)
    if data is None and clean == DEFAULT_NAME:
        data = _read(store, manifest, DEFAULT_NAME.lower())
        clean = DEFAULT_NAME if data is None else DEFAULT_NAME.lower()
    if data is None:
        raise Error(f"Cannot locate specified Dockerfile: {path}")
    return clean, _text(clean, data)


def _text(path: str, data: bytes) -> str:
    if not data:
        raise Error(f"the Dockerfile ({path}) cannot be empty")
    return data.decode("utf-8", "replace")


def _read(store: ContextStore, manifest: Manifest, path: str) -> bytes | None:
    """Return a file of a context, links followed inside of it; None if there is none."""
    tree = store.tree(manifest)
    place = tree.resolve(path)
    found = tree.look(place) if place is not None else None
    if found is None:
        return None
    if found.kind is not Kind.FILE:
        raise InvalidArgument(f"failed to read dockerfile: {path} is not a regular file")
    if found.size > MAX_DOCKERFILE:
        raise InvalidArgument(f"failed to read dockerfile: {path} is larger than {MAX_DOCKERFILE} bytes")
    with os.fdopen(tree.open(found), "rb") as file:
        return file.read(MAX_DOCKERFILE)


def _only_dockerfile(store: ContextStore, data: bytes, stack: ExitStack) -> Source:
    """Return a build of nothing but a Dockerfile that was fetched, which is its own context."""
    text = _text(DEFAULT_NAME, data)
    manifest = Manifest([_with(store, Item(DEFAULT_NAME), data)])
    stack.callback(store.hold(manifest).release)
    return Source(text, DEFAULT_NAME, {"": manifest})


# What is ignored


def _without_listed(store: ContextStore, manifest: Manifest, path: str, stack: ExitStack) -> Manifest:
    """Return a context that a client has filtered without its Dockerfile and its ``.dockerignore`` if that lists them.

    A client that sends a Dockerfile from elsewhere gives it a random name and adds that to the ``.dockerignore``, from
    which it is taken again: a copy of the whole context is to be the same the next time.
    """
    data = _read(store, manifest, _IGNORE)
    if data is None:
        return manifest
    text = data.decode("utf-8", "replace")
    ignore = _ignore(text)
    listed = {name for name in (_IGNORE, path) if ignore.ignored(name)}
    kept = manifest.kept(lambda name: name not in listed)
    if _MADE_UP.fullmatch(path) and _IGNORE not in listed:
        own = text.removesuffix("\n").removesuffix(f"\n{path}")
        kept = Manifest(_with(store, item, own.encode()) if item.path == _IGNORE else item for item in kept.items)
        stack.callback(store.hold(kept).release)
    return kept


def _filtered(store: ContextStore, manifest: Manifest, path: str, given: str | None) -> Manifest:
    """Return a context that nobody has filtered without what is ignored: by the text that was `given`, by a file
    beside the Dockerfile with its name, or by the ``.dockerignore``."""
    text = given
    for name in (f"{path}{_IGNORE}", _IGNORE) if given is None else ():
        data = _read(store, manifest, name)
        if data is not None:
            text = data.decode("utf-8", "replace")
            break
    ignore = _ignore(text or "")
    return manifest.kept(lambda name: not ignore.ignored(name)) if ignore else manifest


def _ignore(text: str) -> Ignore:
    try:
        return Ignore.parse(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"error reading {_IGNORE}: {error.message}") from None


def _with(store: ContextStore, item: Item, data: bytes) -> Item:
    """Return a file of a context with another content."""
    digest = str(Digest.of(data))
    if not store.known(digest):
        store.write(digest, data)
    return replace(item, size=len(data), digest=digest)
