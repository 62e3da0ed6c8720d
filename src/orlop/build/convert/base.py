"""What stands behind a name from outside: nothing (``scratch``), an image, or a context that the client has named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orlop.build.convert.stages import SCRATCH
from orlop.build.dockerfile.scope import DEFAULT_PATH
from orlop.build.graph import (
    BaseImage,
    Context,
    CopyFiles,
    Files,
    Git,
    ImageInfo,
    ImageWanted,
    Json,
    Node,
    NodeFiles,
    Scratch,
)
from orlop.errors import InvalidArgument
from orlop.formats import git_reference, reference
from orlop.formats.git_reference import GitReference
from orlop.formats.platform import Platform, normalize
from orlop.formats.template import go_quote

__all__ = ["Nodes", "Outside", "Start", "empty_config", "git_input", "platform_of"]

_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_LOCAL = "context"
_SCHEME = "docker-image://"
_INHERITED = frozenset(
    ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal")
    + ("ArgsEscaped", "Healthcheck", "OnBuild", "Shell")
)
"""What a new image takes of its base's configuration; the rest described a container that is long gone."""

Origin = Scratch | ImageWanted | Context | Git


class Nodes:
    """The nodes of a graph that is being made; what comes from outside stands in it once."""

    def __init__(self) -> None:
        self.made: list[Node] = []
        self._outside: dict[Node, int] = {}

    def add(self, node: Node) -> int:
        """Append a node and return its place."""
        self.made.append(node)
        return len(self.made) - 1

    def shared(self, node: Scratch | BaseImage) -> int:
        """Return the place of a node that may serve several stages."""
        if node not in self._outside:
            self._outside[node] = self.add(node)
        return self._outside[node]


@dataclass(frozen=True, slots=True)
class Start:
    """What a stage begins with. `reference` is the canonical name of an image, "" without one.

    `depth` counts the layers; `made` says that this build makes them (a context as a base).
    """

    node: int
    config: Json
    platform: Platform
    reference: str = ""
    history: tuple[Json, ...] = ()
    author: str = ""
    depth: int = 0
    made: bool = False


@dataclass(slots=True)
class Outside:
    """Names from outside, resolved by the client's named contexts and the images that were found."""

    named: Mapping[str, str]
    images: Mapping[ImageWanted, ImageInfo]
    target: Platform
    nodes: Nodes
    _contexts: dict[tuple[Context | Git, Platform], int] = field(default_factory=dict)
    _familiar: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._familiar = {_familiar(name) or name: name for name in self.named if name not in (SCRATCH, _LOCAL)}

    def origin(self, name: str, platform: Platform | None) -> Origin:
        """Tell what `name` is. Raises `InvalidArgument` for one that no image can have."""
        if name == SCRATCH:
            return Scratch()
        wanted = platform or self.target
        context = self._context_name(name)
        if context is None:
            return ImageWanted(_checked(name), wanted)
        value = self.named[context].removeprefix(_SCHEME)
        if value == _LOCAL:
            return Context(context)
        if value == SCRATCH:
            return Scratch()
        git = git_reference.parse(value)
        return git_input(git) if git is not None else ImageWanted(_checked(value), wanted)

    def _context_name(self, name: str) -> str | None:
        return self._familiar.get(_familiar(name) or name) if self._familiar else None

    def wanted(self, name: str, platform: Platform | None) -> ImageWanted | None:
        """Return the image behind `name` that was not found yet, None if there is nothing to look for."""
        origin = self.origin(name, platform)
        return origin if isinstance(origin, ImageWanted) and origin not in self.images else None

    def triggers(self, name: str, platform: Platform | None) -> tuple[str, ...]:
        """Return what the ONBUILD instructions of an image that was found hand on."""
        origin = self.origin(name, platform)
        if not isinstance(origin, ImageWanted):
            return ()
        return tuple(_config(self.images[origin].document).get("OnBuild") or ())

    def files(self, name: str) -> Context | NodeFiles:
        """Return where to take files from, of an image for the target's platform."""
        origin = self.origin(name, None)
        return origin if isinstance(origin, Context) else NodeFiles(self.start(name, None).node)

    def start(self, name: str, platform: Platform | None) -> Start:
        """Return what a stage begins with; its image was found before."""
        origin = self.origin(name, platform)
        wanted = platform or self.target
        if isinstance(origin, Scratch):
            return Start(self.nodes.shared(origin), empty_config(), self.target)
        if not isinstance(origin, ImageWanted):
            return Start(self._context_node(origin, wanted), empty_config(), wanted, depth=1, made=True)
        return self._image(origin)

    def _context_node(self, origin: Context | Git, platform: Platform) -> int:
        key = (origin, platform)
        if key not in self._contexts:
            copy = CopyFiles(origin, ("",), "/")
            self._contexts[key] = self.nodes.add(Files(self.nodes.shared(Scratch()), (copy,)))
        return self._contexts[key]

    def _image(self, wanted: ImageWanted) -> Start:
        info = self.images[wanted]
        document = info.document
        layers = tuple((document.get("rootfs") or {}).get("diff_ids") or ())
        platform = platform_of(document, wanted.platform)
        name = wanted.reference if _ID.fullmatch(wanted.reference) else _canonical(wanted.reference)
        node: Scratch | BaseImage = BaseImage(layers, name, info.id, platform) if layers else Scratch()
        return Start(
            self.nodes.shared(node),
            {key: value for key, value in _config(document).items() if key in _INHERITED and value},
            platform,
            name,
            tuple(document.get("history") or ()),
            document.get("author") or "",
            len(layers),
        )


def git_input(found: GitReference, *, keep_git_dir: bool | None = None, checksum: str = "") -> Git:
    """Return the input that a reference to a repository is."""
    return Git(
        found.remote,
        found.ref,
        found.subdirectory,
        keep_git_dir=bool(keep_git_dir if found.keep_git_dir is None else found.keep_git_dir),
        checksum=found.checksum or checksum,
        submodules=found.submodules is not False,
    )


def empty_config() -> Json:
    """Return the configuration of an image that starts from nothing."""
    return {"Env": [f"PATH={DEFAULT_PATH}"], "WorkingDir": "/"}


def platform_of(document: Mapping[str, Any], default: Platform) -> Platform:
    """Return the platform that an image says it is for."""
    if not document.get("os") or not document.get("architecture"):
        return default
    return normalize(Platform(document["os"], document["architecture"], document.get("variant") or ""))


def _config(document: Mapping[str, Any]) -> Json:
    return document.get("config") or {}


def _checked(name: str) -> str:
    """Return `name` if an image can be called so, or is known by it (an id). Raises `InvalidArgument`."""
    if not _ID.fullmatch(name):
        try:
            reference.parse(name)
        except InvalidArgument as error:
            message = f"failed to parse stage name {go_quote(name)}: {error.message}"
            raise InvalidArgument(message) from error
    return name


def _canonical(name: str) -> str:
    return reference.parse(name).tagged().canonical()


def _familiar(name: str) -> str:
    """Return the shortest name of an image, by which a named context is found; "" if it cannot be one."""
    try:
        return reference.parse(name).familiar().removesuffix(":latest")
    except InvalidArgument:
        return ""
