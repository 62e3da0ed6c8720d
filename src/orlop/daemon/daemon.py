"""The life of the daemon: what is taken in which order, and given back in reverse.

Roots are locked first, then sockets are bound (clients wait in their queues), then the engine opens and the API
serves. A signal ends it: containers run on, the next daemon takes them back.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import json
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from orlop.daemon import config, sockets, systemd
from orlop.daemon import log as logs
from orlop.daemon.config import Settings
from orlop.daemon.hosts import parse_host
from orlop.daemon.locks import lock_root, pid_file
from orlop.daemon.stacks import write_stacks
from orlop.errors import Error

if TYPE_CHECKING:
    from orlop.api.http import Api
    from orlop.engine.engine import Engine

__all__ = ["Daemon", "run"]

log = logging.getLogger(__name__)

_CALL_PATIENCE = 5.0  # seconds that calls may take when the daemon ends, if --shutdown-timeout is not shorter
_FORCE_AFTER = 3  # signals

_ENGINE_RELOADS = (
    "debug",
    "labels",
    "shutdown_timeout",
    "insecure_registries",
    "registry_mirrors",
    "max_concurrent_downloads",
    "max_concurrent_uploads",
    "max_download_attempts",
)


class Daemon:
    """One daemon, from its settings to its end. `given` are the flags, for reading the configuration again."""

    def __init__(self, settings: Settings, given: Mapping[str, Any]) -> None:
        self._settings = settings
        self._given = given
        self._engine: Engine | None = None
        self._stop = asyncio.Event()
        self._stop_signals = 0
        self._opening: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until a signal ends it. Raises `errors.Error` when it cannot start."""
        settings = self._settings
        _raise_file_limit()
        with contextlib.ExitStack() as held:
            held.enter_context(self._signals())
            held.enter_context(lock_root(settings.engine.data_root, "data root"))
            if settings.engine.exec_root != settings.engine.data_root:
                held.enter_context(lock_root(settings.engine.exec_root, "exec root"))
            held.enter_context(pid_file(settings.pidfile))
            tls = sockets.tls_context(settings.tls) if settings.tls else None
            listeners = sockets.bind(
                [
                    parse_host(text, default_socket=self._default_socket(), tls=tls is not None)
                    for text in settings.hosts
                ],
                group=settings.group,
                group_chosen=settings.group_chosen,
                secured=settings.tls is not None and bool(settings.tls.ca),
                plain_tcp=settings.plain_tcp,
            )
            held.callback(sockets.close, listeners)
            if not await self._open():
                return
            try:
                await self._serve(listeners, tls)
            finally:
                await self._close_engine()

    async def _open(self) -> bool:
        """Open the engine; False when a signal came before it was open."""
        self._opening = asyncio.ensure_future(self._open_engine())
        try:
            await self._opening
        except asyncio.CancelledError:
            if not self._stop.is_set():
                raise
            log.info("stopped while starting")
            return False
        finally:
            self._opening = None
        return True

    async def _open_engine(self) -> None:
        from orlop.engine.engine import Engine

        started = time.monotonic()
        # The engine waits for shims and the kernel while it opens; meanwhile the rest of the program is loaded.
        loading = asyncio.create_task(asyncio.to_thread(importlib.import_module, "orlop.api.http"))
        try:
            self._engine = await Engine.open(self._settings.engine)
        finally:
            await asyncio.shield(loading)
        log.info("engine %s is open after %.0f ms", self._engine.instance, 1e3 * (time.monotonic() - started))

    async def _serve(self, listeners: list[sockets.Listener], tls: Any) -> None:
        from orlop.api.http import Api

        assert self._engine is not None
        api: Api = Api(self._engine)
        try:
            for listener in listeners:
                secure = tls if listener.socket.family != socket.AF_UNIX else None
                await api.listen(listener.socket, secure)
                log.info("API listen on %s", listener.host)
            systemd.notify_ready()
            log.info("Daemon has completed initialization")
            await self._stop.wait()
        finally:
            systemd.notify_stopping()
            log.info("stopping: containers run on")
            await api.close(min(_CALL_PATIENCE, self._patience()))

    async def _close_engine(self) -> None:
        assert self._engine is not None
        try:
            await asyncio.wait_for(self._engine.close(), max(1.0, self._patience()))
        except TimeoutError:
            log.error("the engine did not close in time")

    def _patience(self) -> float:
        timeout = (self._engine.config if self._engine else self._settings.engine).shutdown_timeout
        return float(timeout) if timeout >= 0 else 3600.0

    def _default_socket(self) -> str:
        return f"{self._settings.engine.exec_root}/orlop.sock"

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers = {
            signal.SIGTERM: lambda: self._end(signal.SIGTERM),
            signal.SIGINT: lambda: self._end(signal.SIGINT),
            signal.SIGHUP: self._reload,
            signal.SIGUSR1: self._dump_stacks,
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def _end(self, number: signal.Signals) -> None:
        self._stop_signals += 1
        log.info("got signal %s", number.name)
        if self._stop_signals >= _FORCE_AFTER:
            log.error("forced to end after %d signals", self._stop_signals)
            os._exit(128 + number)
        self._stop.set()
        if self._opening is not None:
            self._opening.cancel()

    def _reload(self) -> None:
        """Read the configuration file again and apply what can change while the daemon runs (SIGHUP)."""
        log.info("Got signal to reload configuration", extra={"config-file": self._settings.config_file})
        if self._engine is None:
            return
        systemd.notify_reloading()
        try:
            self._apply(config.load(self._given), self._engine)
        except Error as error:
            log.error("Error reloading configuration: %s", error)
        finally:
            systemd.notify_ready()

    def _apply(self, new: Settings, engine: Engine) -> None:
        wanted = new.engine
        changes = {name: getattr(wanted, name) for name in _ENGINE_RELOADS}
        waiting = [
            field.name
            for field in dataclasses.fields(wanted)
            if field.name not in changes and getattr(wanted, field.name) != getattr(self._settings.engine, field.name)
        ]
        if waiting:
            log.warning("changed, but not before the next start: %s", ", ".join(waiting))
        engine.reconfigure(dataclasses.replace(engine.config, **changes))
        logs.set_level(new.log_level)
        attributes = {
            "name": socket.gethostname(),
            "debug": str(wanted.debug).lower(),
            "labels": json.dumps(wanted.labels),
            "live-restore": "true",
            "shutdown-timeout": str(wanted.shutdown_timeout),
            "insecure-registries": json.dumps(wanted.insecure_registries),
            "registry-mirrors": json.dumps(wanted.registry_mirrors),
            "max-concurrent-downloads": str(wanted.max_concurrent_downloads),
            "max-concurrent-uploads": str(wanted.max_concurrent_uploads),
            "max-download-attempts": str(wanted.max_download_attempts),
        }
        engine.spawn(_publish_reload(engine, attributes), "event of the reload")
        log.info("Reloaded configuration", extra={"config": json.dumps(attributes)})

    def _dump_stacks(self) -> None:
        """Write what every thread and task is doing into the exec root (SIGUSR1)."""
        name = f"stacks-{time.strftime('%Y-%m-%dT%H%M%SZ', time.gmtime())}.log"
        path = self._settings.engine.exec_root / name
        try:
            write_stacks(path)
        except OSError as error:
            log.error("stacks could not be written: %s", error)
        else:
            log.info("stacks written to %s", path)


async def _publish_reload(engine: Engine, attributes: dict[str, str]) -> None:
    """Publish that the configuration was read again; the actor is the daemon by the id that `docker info` shows."""
    from orlop.engine.system.info import info

    engine.events.publish("daemon", "reload", (await info(engine))["ID"], attributes)


def _raise_file_limit() -> None:
    """Allow as many open files as the hard limit does: every client and every container costs some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(settings: Settings, given: Mapping[str, Any]) -> int:
    """Run a daemon in this process; return the exit status."""

    async def main() -> None:
        await Daemon(settings, given).run()

    try:
        asyncio.run(main())
    except Error as error:
        print(f"failed to start daemon: {error}", file=sys.stderr)
        return 1
    return 0
