"""The graph of a build: frozen data that says what is to be done, made of a Dockerfile (`orlop.build.convert`).

A *node* is a file system: nothing, an image's, or another node's with one more layer. It names its inputs by their
place in `Graph.nodes`, which come before it. A *step* is a line of the Dockerfile as a user sees it; several steps may
belong to no node (ENV, CMD…), and a node belongs to one step, except what FROM brings.

Everything that a node's result depends on stands in its fields or in its inputs; what stands in a field marked
``compare=False`` does not enter its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orlop.build.dockerfile.tree import Range, Warning
from orlop.formats.platform import Platform

__all__ = [
    "BaseImage",
    "Context",
    "CopyFiles",
    "Exec",
    "FileAction",
    "Files",
    "Git",
    "Graph",
    "History",
    "ImageInfo",
    "ImageWanted",
    "Inline",
    "Input",
    "MakeDirectory",
    "Mount",
    "Node",
    "NodeFiles",
    "Scratch",
    "Step",
    "Target",
    "Url",
]

Json = dict[str, Any]


# Where files come from


@dataclass(frozen=True, slots=True)
class Context:
    """A context that the client has sent, by its name; "" is the build's own. Everything in it is owned by 0:0."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """The file system of a node (``--from``), owners included."""

    node: int


@dataclass(frozen=True, slots=True)
class Url:
    """A file that is fetched: `filename` is its name where the destination is a directory."""

    url: str
    filename: str
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Git:
    """A repository: `ref` is a branch, tag or commit ("" for the default), `subdirectory` becomes the root."""

    url: str
    ref: str = ""
    subdirectory: str = ""
    keep_git_dir: bool = False
    checksum: str = ""
    submodules: bool = True


@dataclass(frozen=True, slots=True)
class Inline:
    """Files whose content stands in the Dockerfile (heredocs): name and bytes; mode 0644, owner 0:0."""

    files: tuple[tuple[str, bytes], ...]


Input = Context | NodeFiles | Url | Git | Inline


# What is done with files


@dataclass(frozen=True, slots=True)
class CopyFiles:
    """Copy `paths` of `source` to `destination`.

    `paths` are relative to the source's root, expanded, cleaned, with wildcards; "" is the root itself, and all that a
    ``Url``, a ``Git`` or an ``Inline`` has. With `parents` a path may hold one ``/./``: only what follows it is made at
    the destination.
    `destination` is absolute; a slash at its end says that it is a directory. `owner` is ``user[:group]`` as in
    ``--chown`` (names are looked up in the base's files), "" for what the source says. `mode` is ``--chmod``, octal or
    symbolic, or "". `unpack` has local archives unpacked (ADD). `instruction` is COPY or ADD, for messages.
    """

    source: Input
    paths: tuple[str, ...]
    destination: str
    owner: str = ""
    mode: str = ""
    parents: bool = False
    exclude: tuple[str, ...] = ()
    unpack: bool = False
    instruction: str = field(default="COPY", compare=False)


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Make the directory `path` and its parents where they are missing (WORKDIR); nothing happens to one that is there.

    `owner` is ``user[:group]`` of those that are made, "" for 0:0.
    """

    path: str
    owner: str = ""
    mode: int = 0o755


FileAction = CopyFiles | MakeDirectory


# Nodes


@dataclass(frozen=True, slots=True)
class Scratch:
    """Nothing: FROM scratch."""


@dataclass(frozen=True, slots=True)
class BaseImage:
    """An image of this store; `diff_ids` are its layers, bottom first, and all of it that enters a key."""

    diff_ids: tuple[str, ...]
    reference: str = field(compare=False)
    image_id: str = field(compare=False)
    platform: Platform = field(compare=False)


@dataclass(frozen=True, slots=True)
class Files:
    """`base` and a layer with the effect of `actions` (COPY, ADD, WORKDIR).

    With `link` the layer is made as if the base were empty, so that it does not depend on it.
    """

    base: int
    actions: tuple[FileAction, ...]
    link: bool = False


@dataclass(frozen=True, slots=True)
class Mount:
    """``RUN --mount``. `target` is absolute. `source` is a path in `input` (bind, cache); None is an empty directory.

    `id` names a cache, a secret or an ssh agent. `env` is the variable that a secret is put in. `mode`, `uid` and `gid`
    are those of a cache's directory and of the files of a secret or socket; `size` is of a tmpfs, in bytes, 0 for any.
    """

    kind: Literal["bind", "cache", "tmpfs", "secret", "ssh"]
    target: str = ""
    source: str = ""
    input: Context | NodeFiles | None = None
    read_only: bool = False
    id: str = field(default="", compare=False)
    sharing: Literal["shared", "private", "locked"] = field(default="shared", compare=False)
    required: bool = False
    env: str = ""
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Exec:
    """`base` and what a command changes of it (RUN).

    `arguments` is the whole command, `environment` holds ``name=value`` in order; `argument_names` are those of its
    names that ARG brought, for telling what changed. `script`, if there is one, is mounted read-only and executable at
    its path (a heredoc with a ``#!`` of its own). `proxies` are variables that the command sees and that change nothing
    of the result. `ulimits` is ``name=soft:hard``.
    """

    base: int
    arguments: tuple[str, ...]
    environment: tuple[str, ...]
    directory: str
    user: str = ""
    script: tuple[str, bytes] | None = None
    mounts: tuple[Mount, ...] = ()
    network: Literal["default", "none", "host"] = "default"
    insecure: bool = False
    host_names: tuple[str, ...] = ()
    ulimits: tuple[str, ...] = ()
    shm_size: int = 0  # bytes; 0 for the default
    platform: str = ""
    argument_names: frozenset[str] = field(default=frozenset(), compare=False)
    proxies: tuple[str, ...] = field(default=(), compare=False)
    hosts: tuple[str, ...] = field(default=(), compare=False)  # name:address, as `--add-host`
    hostname: str = ""  # "" for one that a builder gives to every step


Node = Scratch | BaseImage | Files | Exec


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the Dockerfile. `number` counts the kept steps from 1 in the Dockerfile's order.

    `name` is what a progress view shows (``[build 2/5] RUN make``), `text` the instruction itself as it is shown by
    the classic builder (``RUN make``, variables as written), `stage` the stage's name or its number. `metadata` says
    that it makes no file system, which holds for FROM too where it names a stage or ``scratch``.
    """

    number: int
    name: str
    text: str
    stage: str
    instruction: str  # in capitals
    range: Range
    node: int  # of the file system after this step
    metadata: bool = False
    no_cache: bool = False
    """Whether `--no-cache` or `--no-cache-filter` speaks of it."""


@dataclass(frozen=True, slots=True)
class History:
    """An entry of an image's history; `step` is the number of its step (0: of the base image's own)."""

    created_by: str
    empty: bool
    step: int
    comment: str = "buildkit.dockerfile.v0"
    author: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What comes out: the file system of `node`, with `config` (the ``config`` object) as an image.

    `base_history` are the history entries of the base image, as they stand there; `history` those that follow.
    """

    node: int
    config: Json
    history: tuple[History, ...]
    base_history: tuple[Json, ...] = ()
    platform: Platform = field(default=Platform("linux", "amd64"))
    base: int = 0  # the node that FROM brought
    author: str = ""


@dataclass(frozen=True, slots=True)
class ImageWanted:
    """An image that the graph needs: as written (normalised later) and for which platform."""

    reference: str
    platform: Platform


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image that was found: its id, and its whole configuration document."""

    id: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """All of a build that its target needs, nodes before those that need them, steps in the Dockerfile's order."""

    nodes: tuple[Node, ...]
    steps: tuple[Step, ...]
    target: Target
    warnings: tuple[Warning, ...] = ()
    unused_arguments: tuple[str, ...] = ()
    """Names of build arguments that nothing consumed, sorted."""
    stages: tuple[str, ...] = ()
    """The stages that are built, by their names or as ``stage-<number>``."""
    epoch: int | None = None
    """``SOURCE_DATE_EPOCH`` in seconds, of an argument or of an ARG before the first FROM."""
