"""The containers that this engine has: found by id, by name or by the beginning of an id.

A `Container` is the live object: its record (what is on disk), its task (while it runs) and who waits for it. Its lock
is held by whoever changes its state; reading needs no lock, because a record is replaced as a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from orlop.errors import Conflict, Error, InvalidArgument, NotFound
from orlop.model.record import ContainerRecord, ContainerState
from orlop.runtime.runtime import Task
from orlop.store import containers as table

if TYPE_CHECKING:
    from orlop.engine.containers.exec import Exec
    from orlop.engine.containers.health import Health
    from orlop.network.network import Endpoint
    from orlop.store.store import Store

__all__ = ["Container", "Registry"]

REMEMBERED = 1024  # removed containers whose exit status is still known

FIRST_RESTART_DELAY = 0.1  # seconds


def _settled() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(eq=False)
class Container:
    """One container; `endpoint` is what it holds of a network between allocation and release."""

    record: ContainerRecord
    task: Task | None = None
    endpoint: Endpoint | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    execs: dict[str, Exec] = field(default_factory=dict)
    health: Health | None = None  # once it has run, if it has a health check
    restart: asyncio.TimerHandle | None = None  # a restart that waits for its time
    restart_delay: float = FIRST_RESTART_DELAY
    seccomp: bytes | None = None  # the program that its processes run under, once `seccomp_known`
    seccomp_known: bool = False
    summary: tuple[ContainerRecord, dict[str, Any]] | None = None  # its line in a list, made of this record
    gone: bool = False  # removed: its record is not written any more
    manual_restart: bool = False  # `docker restart`: the exit is not followed by policy or removal
    settled: asyncio.Event = field(default_factory=_settled)  # it does not run, and all that follows an exit is done
    _on_exit: list[asyncio.Future[dict[str, Any]]] = field(default_factory=list)
    _on_removal: list[asyncio.Future[dict[str, Any]]] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The 64 hexadecimal digits that name it for good."""
        return self.record.id

    @property
    def name(self) -> str:
        """Its name, without a slash."""
        return self.record.name

    @property
    def state(self) -> ContainerState:
        """What is known of its last run."""
        return self.record.state

    @property
    def running(self) -> bool:
        """Whether it runs as clients see it: not while a forced removal kills it."""
        return self.record.state.status in ("running", "paused")

    def cancel_restart(self) -> None:
        """Do not start again what waits for its restart."""
        if self.restart is not None:
            self.restart.cancel()
            self.restart = None

    def on_exit(self) -> asyncio.Future[dict[str, Any]]:
        """Return a future of the next exit's wait answer."""
        return self._register(self._on_exit)

    def on_removal(self) -> asyncio.Future[dict[str, Any]]:
        """Return a future of the wait answer that comes when the container is gone."""
        return self._register(self._on_removal)

    def tell_exit(self) -> None:
        """Answer those who wait for an exit."""
        self._tell(self._on_exit)

    def tell_removal(self) -> None:
        """Answer those who wait for the removal, and those who wait for an exit that will not come."""
        self._tell(self._on_exit)
        self._tell(self._on_removal)

    def wait_answer(self) -> dict[str, Any]:
        """Return the body of an answer to `POST /containers/{id}/wait`."""
        return {"StatusCode": self.state.exit_code}

    def _register(self, waiters: list[asyncio.Future[dict[str, Any]]]) -> asyncio.Future[dict[str, Any]]:
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        waiters.append(future)
        future.add_done_callback(lambda done: waiters.remove(done) if done in waiters else None)
        return future

    def _tell(self, waiters: list[asyncio.Future[dict[str, Any]]]) -> None:
        answer = self.wait_answer()
        for future in list(waiters):
            if not future.done():
                future.set_result(answer)


class Registry:
    """All containers of an engine, and the only writer of their records."""

    def __init__(self, store: Store, spawn: Callable[[Coroutine[Any, Any, Any], str], object]) -> None:
        self._store = store
        self._spawn = spawn
        self._by_id: dict[str, Container] = {}
        self._ids: dict[str, str] = {}  # by name
        self._departed: dict[str, dict[str, Any]] = {}  # by id, the oldest first
        self._taken: set[str] = set()  # names that are being given right now

    async def load(self) -> None:
        """Read every record from the store."""
        for record in await self._store.read(table.all):
            self._insert(Container(record))

    def __iter__(self) -> Iterator[Container]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, container_id: str) -> Container | None:
        """Return the container with exactly this id."""
        return self._by_id.get(container_id)

    def by_name(self, name: str) -> Container | None:
        """Return the container with exactly this name (without a slash)."""
        return self._by_id.get(self._ids.get(name, ""))

    def resolve(self, ref: str) -> Container:
        """Return the container that `ref` names: an id, a name (with or without ``/``) or the start of one id.

        Raises `NotFound`, and `InvalidArgument` when several ids begin like that.
        """
        if not ref:
            raise InvalidArgument("No container name or ID supplied")
        found = self._by_id.get(ref) or self.by_name(ref.removeprefix("/")) or self._linked(ref.removeprefix("/"))
        if found:
            return found
        if all(char in "0123456789abcdef" for char in ref):
            matches = [container for key, container in self._by_id.items() if key.startswith(ref)]
            if len(matches) == 1:
                return matches[0]
            if matches:
                raise InvalidArgument(f"Multiple IDs found with provided prefix: {ref}")
        raise NotFound(f"No such container: {ref}")

    def _linked(self, ref: str) -> Container | None:
        """Return the container that another one has a link to: ``container/alias``."""
        name, slash, alias = ref.partition("/")
        holder = self.by_name(name) if slash else None
        links = [link.partition(":") for link in (holder.record.host_config.links or [] if holder else [])]
        return next((self.get(target) for target, _, known in links if known == alias), None)

    @asynccontextmanager
    async def locked(self, ref: str) -> AsyncIterator[Container]:
        """Give the container that `ref` names, locked. Raises `NotFound`, too, when it is removed before it is ours."""
        container = self.resolve(ref)
        async with container.lock:
            if container.gone:
                raise NotFound(f"No such container: {ref}")
            yield container

    async def add(self, record: ContainerRecord) -> Container:
        """Enter a new container. Raises `Conflict` when its name is taken."""
        self.reserve(record.name)
        try:
            await self._store.write(lambda tx: table.put(tx, record))
            container = Container(record)
            self._insert(container)
            return container
        finally:
            self._taken.discard(record.name)

    async def rename(self, container: Container, name: str) -> None:
        """Give `container` another name; the old one stays if that fails."""
        self.reserve(name)
        old = container.name
        container.record = msgspec.structs.replace(container.record, name=name)
        try:
            await self._write(container, durable=True)
            del self._ids[old]
            self._ids[name] = container.id
        except Error:
            container.record = msgspec.structs.replace(container.record, name=old)
            raise
        finally:
            self._taken.discard(name)

    def departed(self, container_id: str) -> dict[str, Any] | None:
        """Return the wait answer of a container that was removed not long ago; None if nothing is known of it."""
        return self._departed.get(container_id)

    def reserve(self, name: str) -> None:
        """Keep others from taking `name` while it is being given. Raises `Conflict`."""
        holder = self._ids.get(name)
        if holder or name in self._taken:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{holder or ""}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )
        self._taken.add(name)

    async def save(self, container: Container, *, durable: bool = True, **changes: Any) -> None:
        """Replace fields of a container's record and wait until it is written.

        Memory leads: what happened to a container has happened even where the disk is full; a daemon that starts
        again learns it from the shim's own files.
        """
        container.record = msgspec.structs.replace(container.record, **changes)
        await self._write(container, durable)

    def note_state(self, container: Container, **changes: Any) -> None:
        """Replace fields of a container's state and write it behind whatever goes on."""
        self.note(container, state=msgspec.structs.replace(container.state, **changes))

    def note(self, container: Container, **changes: Any) -> None:
        """Replace fields of a container's record and write it behind whatever goes on.

        So does what must not depend on the disk: a container can be stopped, killed and removed when that is full.
        """
        container.record = msgspec.structs.replace(container.record, **changes)
        self._spawn(self._write(container, durable=False), f"record of {container.id[:12]}")

    async def _write(self, container: Container, durable: bool) -> None:
        """Write the record as it is when its turn comes, so that the order of writers does not matter."""
        await self._store.write(lambda tx: None if container.gone else table.put(tx, container.record), durable=durable)

    async def remove(self, container: Container) -> None:
        """Forget a container; its name is free when this returns. If it cannot be forgotten all is as before."""
        container.gone = True
        try:
            await self._store.write(lambda tx: table.delete(tx, container.id), frees=True)
        except Error:
            container.gone = False
            raise
        self._by_id.pop(container.id, None)
        self._departed[container.id] = container.wait_answer()
        if len(self._departed) > REMEMBERED:
            del self._departed[next(iter(self._departed))]
        if self._ids.get(container.name) == container.id:
            del self._ids[container.name]

    def _insert(self, container: Container) -> None:
        self._by_id[container.id] = container
        self._ids[container.name] = container.id
