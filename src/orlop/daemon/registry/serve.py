"""The life of a registry's process: lock the root, bind, serve until a signal, let requests finish, end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import socket
import sys
from collections.abc import Iterator

from orlop.api import aiohttp_parts as aiohttp_parts  # first: of aiohttp only the server is loaded
from orlop.daemon import sockets, systemd
from orlop.daemon.registry.control import Control
from orlop.daemon.registry.settings import Serving, is_local
from orlop.errors import Error
from orlop.registry.server.access import Access, Everybody, Users
from orlop.registry.server.server import Server
from orlop.registry.storage.local import LocalStorage

__all__ = ["serve"]

log = logging.getLogger(__name__)

_EXPIRY_ROUNDS = 600.0  # seconds


def serve(settings: Serving) -> int:
    """Serve in this process until a signal ends it; return the exit status."""
    try:
        asyncio.run(_run(settings))
    except Error as error:
        print(f"orlop-registry: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(settings: Serving) -> None:
    _raise_file_limit()
    async with contextlib.AsyncExitStack() as held:
        stop = held.enter_context(_signals())
        tls = sockets.tls_context(settings.tls) if settings.tls else None
        access: Access = Users(settings.htpasswd, settings.realm) if settings.htpasswd else Everybody()
        storage = LocalStorage.open(settings.root)
        held.push_async_callback(storage.close)
        listeners = sockets.bind(settings.hosts, group="", group_chosen=True, secured=True, plain_tcp=True)
        held.callback(sockets.close, listeners)
        _warn(settings)
        control = await held.enter_async_context(Control(settings.root, storage))
        expiry = asyncio.create_task(_expire(storage, settings.upload_expiry), name="expiry of uploads")
        held.callback(expiry.cancel)
        server = Server(storage, access, read_only=settings.read_only)
        try:
            for listener in listeners:
                secure = tls if listener.socket.family != socket.AF_UNIX else None
                await server.listen(listener.socket, secure)
                log.info("listening on %s", listener.host)
            systemd.notify_ready()
            await stop.wait()
        finally:
            systemd.notify_stopping()
            log.info("stopping")
            await server.close(settings.shutdown_timeout)
            await control.close()


def _warn(settings: Serving) -> None:
    """Say loudly what others can do who reach the registry."""
    reachable = [host for host in settings.hosts if not is_local(host)]
    if not reachable:
        return
    if settings.tls is None:
        log.warning(
            "without TLS everybody on the way can read and change what is pushed and pulled, passwords too",
            extra={"listen": str(reachable[0])},
        )
    if settings.htpasswd is None and not settings.read_only and not (settings.tls and settings.tls.ca):
        log.warning(
            "without passwords everybody who reaches the registry can push to it and delete what is in it",
            extra={"listen": str(reachable[0])},
        )


async def _expire(storage: LocalStorage, age: float) -> None:
    while True:
        try:
            count = await storage.expire_uploads(age)
        except OSError as error:
            log.error("uploads could not be expired: %s", error)
        else:
            if count:
                log.info("uploads expired", extra={"count": count})
        await asyncio.sleep(min(_EXPIRY_ROUNDS, max(1.0, age / 2)))


@contextlib.contextmanager
def _signals() -> Iterator[asyncio.Event]:
    """Yield what a signal to end sets; a second one ends at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def end(number: signal.Signals) -> None:
        log.info("got signal %s", number.name)
        if stop.is_set():
            loop.remove_signal_handler(number)
            signal.raise_signal(number)
        stop.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, end, number)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _raise_file_limit() -> None:
    """Allow as many open files as the hard limit does: every client costs some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
