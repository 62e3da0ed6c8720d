"""Collections by hand: in this process where nobody serves the registry, else in the server, which is asked to.

Two processes never share a root, so a server listens on a socket in it: one line of JSON says how to collect, one
comes back. Whoever may use the directory may use the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from orlop.errors import Error, Internal, Unavailable
from orlop.formats.units import decimal_size
from orlop.registry.storage.local import LocalStorage
from orlop.registry.storage.storage import Collection, Report, Storage

__all__ = ["Control", "collect", "describe"]

log = logging.getLogger(__name__)

_NAME = "control.sock"
_PATIENCE = 5.0  # seconds for the question


class _Answer(msgspec.Struct, frozen=True):
    report: Report | None = None
    problem: str = ""


class Control:
    """The server's side: an async context manager that serves the socket in `root`."""

    def __init__(self, root: Path, storage: Storage) -> None:
        self._root = root
        self._storage = storage
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Control:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short(self._root) as path:
                path.unlink(missing_ok=True)  # the root is locked: it is left over
                sock.bind(str(path))
                path.chmod(0o600)
            self._server = await asyncio.start_unix_server(self._begin, sock=sock)
        except BaseException:
            sock.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Take no more questions and give up collections that go on: what they removed is gone, the rest stays."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        (self._root / _NAME).unlink(missing_ok=True)

    async def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            async with asyncio.timeout(_PATIENCE):
                how = msgspec.json.decode(await reader.readline(), type=Collection)
            writer.write(msgspec.json.encode(await self._collect(how)) + b"\n")
            await writer.drain()
        except (TimeoutError, msgspec.MsgspecError, ConnectionError, ValueError) as error:
            log.warning("a question on the control socket was no good: %s", error)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _collect(self, how: Collection) -> _Answer:
        async with self._turn:
            try:
                report = await self._storage.collect(how)
            except (Error, OSError) as error:
                log.error("collection failed: %s", error)
                return _Answer(problem=str(error))
        log.info("collected", extra=dataclasses.asdict(report))
        return _Answer(report)


def collect(root: Path, how: Collection) -> Report:
    """Collect the garbage of the registry in `root`. Raises `errors.Error`."""
    if not (root / "content").is_dir():
        raise Unavailable(f"there is no registry in {root}")
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError), _short(root) as path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(str(path))
            return _ask(sock, how)
    return asyncio.run(_collect_here(root, how))


async def _collect_here(root: Path, how: Collection) -> Report:
    storage = LocalStorage.open(root)
    try:
        return await storage.collect(how)
    except OSError as error:
        raise Internal(f"the collection failed: {error}") from None
    finally:
        await storage.close()


def _ask(sock: socket.socket, how: Collection) -> Report:
    sock.sendall(msgspec.json.encode(how) + b"\n")
    with sock.makefile("rb") as file:
        line = file.readline()
    if not line:
        raise Unavailable("the registry's server ended before the collection did")
    answer = msgspec.json.decode(line, type=_Answer)
    if answer.report is None:
        raise Internal(answer.problem)
    return answer.report


@contextlib.contextmanager
def _short(root: Path) -> Iterator[Path]:
    """Yield the socket's path by way of a descriptor: sockets have room for 107 bytes only (unix(7))."""
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{fd}/{_NAME}")
    finally:
        os.close(fd)


def describe(report: Report, how: Collection) -> str:
    """Return the lines that say what a collection did."""
    did, freed = ("would be removed", "would be freed") if how.dry_run else ("removed", "freed")
    lines = [f"{report.blobs} blobs and {report.manifests} manifests {did}, {decimal_size(report.bytes)} {freed}"]
    lines.append(f"{report.kept_blobs} blobs are in use")
    if report.recent_blobs:
        lines.append(
            f"{report.recent_blobs} blobs are not in use and stay: they were pushed or asked for lately (--grace)"
        )
    return "\n".join(lines)
