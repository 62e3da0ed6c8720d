"""The file worker: selects, copies and fetches for one build. What blocks runs in threads that end when it does."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from orlop.build.files.copy import copy, make_directory
from orlop.build.files.disk_tree import DiskTree
from orlop.build.files.fetch import Fetched, fetch
from orlop.build.files.git import Checkout, checkout, is_commit
from orlop.build.files.layout import EmptyTree, Layout
from orlop.build.files.manifest import Manifest
from orlop.build.files.owners import OWNER_FILES, read_file
from orlop.build.files.select import selected
from orlop.build.files.store import ContextStore
from orlop.build.files.trees import InlineTree, Tree
from orlop.build.graph import Context, CopyFiles, Git, Inline, Input, NodeFiles, Url
from orlop.build.layer import write_layer
from orlop.build.worker import FilesJob, FileSystem, Made, Selected, Sink
from orlop.errors import Conflict, Error, NotFound
from orlop.formats.tar.output import TarOutput, Write
from orlop.image.apart import apart
from orlop.image.depot import Depot
from orlop.image.leases import Lease
from orlop.image.view import merged, sealed

__all__ = ["FileWorker"]

T = TypeVar("T")


class FileWorker:
    """What a build does with files. `contexts` are those that its client has sent, by name. `close` it at the end."""

    def __init__(self, depot: Depot, store: ContextStore, contexts: Mapping[str, Manifest]) -> None:
        self._depot = depot
        self._store = store
        self._contexts = contexts
        self._leases = [store.hold(manifest) for manifest in contexts.values()]
        self._fetches: dict[Url | Git, _Fetching] = {}
        self._materialized: dict[tuple[str, str], Path] = {}
        self._lock = threading.Lock()

    async def select(self, action: CopyFiles, nodes: Mapping[int, FileSystem], sink: Sink) -> Selected:
        """Tell what an action would take. Raises `errors.Error`."""
        await self._fetched(action.source, sink)
        if (
            isinstance(action.source, Git) and action.source.keep_git_dir
        ):  # what is packed may differ, the commit says all
            return Selected(f"sha256:{hashlib.sha256(self._checkout(action.source).commit.encode()).hexdigest()}", ())

        def work(check: Callable[[], None]) -> Selected:
            with self._tree(action.source, nodes) as tree:
                return selected(tree, action)

        return await _uncut(work, "build-select")

    async def owner_files(self, base: FileSystem) -> str:
        """Return a digest of the files that say who users and groups are."""

        def work(check: Callable[[], None]) -> str:
            with self._file_system(base) as tree:
                texts = [read_file(tree, path) for path in OWNER_FILES]
            return hashlib.sha256("\0".join(texts).encode()).hexdigest()

        return await _uncut(work, "build-owners")

    async def files(self, job: FilesJob, lease: Lease, sink: Sink) -> Made:
        """Make a layer of files. Raises `errors.Error` and `OSError`; then, and when cancelled, nothing is left."""
        for action in job.node.actions:
            if isinstance(action, CopyFiles):
                await self._fetched(action.source, sink)
        started = time.monotonic()

        def work(check: Callable[[], None]) -> Made:
            base = () if job.node.link else job.base

            def feed(write: Write) -> None:
                self._lay_out(job, base, write, check)

            layer = write_layer(self._depot, lease, base, feed, check)
            return Made(layer, time.monotonic() - started)

        return await _uncut(work, "build-files")

    def fixed(self, source: Input) -> bool:
        """Tell whether a source is known by its own definition alone."""
        if isinstance(source, Git):
            return is_commit(source.checksum) or is_commit(source.ref)
        return isinstance(source, Inline) or (isinstance(source, Url) and bool(source.checksum))

    def materialize(self, context: Context, path: str) -> Path:
        """Return a host path with what `path` of a context is, until `close`. Blocks. Raises `NotFound`."""
        key = (context.name, path.strip("/"))
        with self._lock:
            found = self._materialized.get(key)
            if found is None:
                found = self._materialized[key] = self._store.materialize(self._manifest(context), path)
            return found

    def close(self) -> None:
        """Let go of contexts, and of what was fetched."""
        for lease in self._leases:
            lease.release()
        for path in self._materialized.values():
            self._depot.scratch.discard(path)
        self._materialized.clear()
        for fetching in self._fetches.values():
            result = fetching.result
            if isinstance(result, Fetched):
                result.release()
            elif result is not None:
                self._depot.scratch.discard(result.path)
        self._fetches.clear()

    def _lay_out(self, job: FilesJob, base: FileSystem, write: Write, check: Callable[[], None]) -> None:
        output = TarOutput(write)
        with self._file_system(base) as below, self._file_system(job.base) as users:
            layout = Layout(below, output, None if job.epoch is None else job.epoch * 10**9)
            for action in job.node.actions:
                check()
                if isinstance(action, CopyFiles):
                    with self._tree(action.source, job.nodes) as tree:
                        copy(layout, users, tree, action, check)
                else:
                    make_directory(layout, users, action)
        output.finish()

    def _manifest(self, context: Context) -> Manifest:
        manifest = self._contexts.get(context.name)
        if manifest is None:
            raise NotFound(f"there is no build context{f' {context.name!r}' if context.name else ''}")
        return manifest

    @contextmanager
    def _tree(self, source: Input, nodes: Mapping[int, FileSystem]) -> Iterator[Tree]:
        if isinstance(source, Context):
            yield self._store.tree(self._manifest(source))
        elif isinstance(source, NodeFiles):
            with self._file_system(nodes[source.node]) as tree:
                yield tree
        elif isinstance(source, Inline):
            yield InlineTree(source.files)
        else:
            result = self._fetches[source].result
            assert result is not None  # it was waited for
            if isinstance(result, Fetched):
                yield result.tree()
            else:
                with sealed(str(result.path)) as fd:
                    yield DiskTree(fd, has_owners=False)

    @contextmanager
    def _file_system(self, layers: FileSystem) -> Iterator[Tree]:
        if not layers:
            yield EmptyTree()
            return
        directories = self._depot.layers.stack(self._depot.layers.names_of_chain(layers, "a step's base"))
        with merged(directories) as fd:
            yield DiskTree(fd, has_owners=True)

    async def _fetched(self, source: Input, sink: Sink) -> None:
        """See to it that what comes from elsewhere is here; it is fetched once in a build."""
        if not isinstance(source, (Url, Git)):
            return
        fetching = self._fetches.get(source)
        if fetching is None or fetching.task.cancelled():
            task = asyncio.create_task(self._fetch(source, sink))
            fetching = self._fetches[source] = _Fetching(task)
        await fetching.wait()

    async def _fetch(self, source: Url | Git, sink: Sink) -> Fetched | Checkout:
        if isinstance(source, Git):
            return await checkout(source, self._depot.scratch)
        return await fetch(source, self._store, sink)

    def _checkout(self, source: Git) -> Checkout:
        result = self._fetches[source].result
        assert isinstance(result, Checkout)
        return result


class _Fetching:
    """Something that is fetched once for all who want it, and no longer than anybody wants it."""

    def __init__(self, task: asyncio.Task[Fetched | Checkout]) -> None:
        self.task = task
        self._waiting = 0

    @property
    def result(self) -> Fetched | Checkout | None:
        """What came of it, None as long as that is nothing."""
        done = self.task.done() and not self.task.cancelled() and self.task.exception() is None
        return self.task.result() if done else None

    async def wait(self) -> None:
        """Wait for the result. Raises what the fetching raises; when the last one is cancelled it is cancelled too."""
        self._waiting += 1
        try:
            await asyncio.shield(self.task)
        except asyncio.CancelledError:
            if self._waiting == 1:
                self.task.cancel()
                await asyncio.wait((self.task,))
            raise
        finally:
            self._waiting -= 1


async def _uncut(work: Callable[[Callable[[], None]], T], name: str) -> T:
    """Run `work` in a thread; when the caller is cancelled tell it by its `check`, and wait for its end."""
    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise Conflict("the build was cancelled")

    working = apart(lambda: work(check), name)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        stopped.set()
        with suppress(Error, OSError):
            await working
        raise
