"""What nodes take of contexts, of other nodes, of URLs and repositories: the digests that enter their keys."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orlop.build.explain import FileList
from orlop.build.graph import Context, CopyFiles, Exec, Files, Inline, Mount, NodeFiles
from orlop.build.keys import content_label, mount_label
from orlop.build.telling import Telling
from orlop.build.worker import FileSystem, Worker
from orlop.formats.identity import chain_ids

__all__ = ["Contents", "Selections", "chain_of", "select_contents"]


def chain_of(file_system: FileSystem) -> str:
    """Return the chain id of a file system, "" for an empty one."""
    return chain_ids(layer.diff_id for layer in file_system)[-1] if file_system else ""


@dataclass(slots=True)
class Contents:
    """The digests of what a node takes, one for each action or mount, "" where its definition says that. `lists` are
    the digests by their labels, `files` the files behind those that are many, where they are known."""

    digests: list[str] = field(default_factory=list)
    lists: dict[str, str] = field(default_factory=dict)
    files: dict[str, FileList] = field(default_factory=dict)

    def add(self, digest: str, label: str = "", files: FileList | None = None) -> None:
        self.digests.append(digest)
        if label and digest:
            self.lists[label] = digest
            if files is not None:
                self.files[label] = files


class Selections:
    """Digests of what was selected of file systems, which never change: by their chain and what was asked for."""

    _MOST = 10_000

    def __init__(self) -> None:
        self._digests: OrderedDict[tuple[object, ...], str] = OrderedDict()

    def get(self, key: tuple[object, ...]) -> str | None:
        digest = self._digests.get(key)
        if digest is not None:
            self._digests.move_to_end(key)
        return digest

    def put(self, key: tuple[object, ...], digest: str) -> None:
        self._digests[key] = digest
        while len(self._digests) > self._MOST:
            self._digests.popitem(last=False)


async def select_contents(
    node: Files | Exec, nodes: Mapping[int, FileSystem], worker: Worker, known: Selections, telling: Telling
) -> Contents:
    """Return what `node` takes; `nodes` are the file systems of those that it takes of. Raises `errors.Error`."""
    selecting = _Selecting(nodes, worker, known, telling)
    if isinstance(node, Files):
        await selecting.actions([action if isinstance(action, CopyFiles) else None for action in node.actions])
    else:
        await selecting.mounts(node.mounts)
    return selecting.contents


class _Selecting:
    def __init__(self, nodes: Mapping[int, FileSystem], worker: Worker, known: Selections, telling: Telling) -> None:
        self.contents = Contents()
        self._nodes = nodes
        self._worker = worker
        self._known = known
        self._telling = telling

    async def actions(self, actions: Sequence[CopyFiles | None]) -> None:
        for number, action in enumerate(actions):
            if action is None or isinstance(action.source, Inline) or self._worker.fixed(action.source):
                self.contents.add("")
                continue
            suffix = "" if number == 0 else f" #{number + 1}"
            await self._select(action, f"{content_label(action.source)}{suffix}")

    async def mounts(self, mounts: Sequence[Mount]) -> None:
        for mount in mounts:
            path = mount.source.strip("/")
            if mount.input is None:
                self.contents.add("")
            elif isinstance(mount.input, NodeFiles) and not path:
                self.contents.add(chain_of(self._nodes[mount.input.node]), mount_label(mount))
            else:
                await self._select(CopyFiles(mount.input, (path,), "/"), mount_label(mount))

    async def _select(self, action: CopyFiles, label: str) -> None:
        memo: tuple[object, ...] | None = None
        if isinstance(action.source, NodeFiles):
            chain = chain_of(self._nodes[action.source.node])
            memo = (chain, action.paths, action.parents, action.exclude, action.unpack)
            if (digest := self._known.get(memo)) is not None:
                self.contents.add(digest, label)
                return
        selected = await self._worker.select(action, self._nodes, self._telling)
        self._telling.hashed(label, selected.hashed)
        self.contents.add(selected.digest, label, selected.files if _has_list(action) else None)
        if memo is not None:
            self._known.put(memo, selected.digest)


def _has_list(action: CopyFiles) -> bool:
    """Tell whether what changed of a source is told by its files."""
    return isinstance(action.source, Context | NodeFiles)
