"""What is measured: each figure is a function that takes an engine and gives values by name."""

from __future__ import annotations

import functools
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench import material
from bench.connection import Connection
from bench.daemons import Managed
from bench.engine import Engine
from bench.hammer import hammer
from bench.harbour import empty_harbour, harbour

__all__ = ["FIGURES", "Figure"]

COUNT = 50
CLIENTS = 8
SLEEP = ["sleep", "100000"]

Item = TypeVar("Item")

now = time.perf_counter


@dataclass(frozen=True)
class Figure:
    """A figure: its unit, whether more is better, and what is wanted as a multiple of a dockerd 20.10.

    `target` 10 means: ten times better (a tenth of the time, or ten times the rate).
    """

    name: str
    unit: str
    measure: Callable[[Engine], float]
    target: float | None = None
    more_is_better: bool = False
    rounds: int = 15


def first_byte(engine: Engine, network: str) -> float:
    """Create and start a container; milliseconds until the first byte that it writes is here."""
    with engine.connect() as control, engine.connect() as stream:
        begin = now()
        container = engine.create(control, ["echo", "x"], network)
        stream.hijack(f"/containers/{container}/attach?stream=1&stdout=1&stderr=1")
        control.send("POST", f"/containers/{container}/start", b"")
        if not select.select([stream.socket], [], [], 60)[0]:
            raise RuntimeError("the container wrote nothing")
        elapsed = now() - begin
        control.body(*control.head())
        stream.drain()
        control.request("POST", f"/containers/{container}/wait")
        engine.remove(control, container)
    return elapsed * 1e3


def exec_api(engine: Engine) -> float:
    """Run `true` in a running container; milliseconds until its exit status is known."""
    with _container(engine) as (connection, container), engine.connect() as stream:
        begin = now()
        body = {"Cmd": ["true"], "AttachStdout": True, "AttachStderr": True}
        process = connection.json("POST", f"/containers/{container}/exec", body)["Id"]
        stream.hijack(f"/exec/{process}/start", {"Detach": False, "Tty": False})
        stream.drain()
        while connection.json("GET", f"/exec/{process}/json")["Running"]:
            time.sleep(0.0005)
        return (now() - begin) * 1e3


def run_cli(engine: Engine) -> float:
    """Run `docker run --rm busybox true`; milliseconds."""
    begin = now()
    engine.docker("run", "--rm", "busybox", "true")
    return (now() - begin) * 1e3


def parallel(engine: Engine) -> float:
    """Start 50 containers by 8 clients; containers a second."""
    begin = now()
    containers = _many(engine, range(COUNT), lambda connection, _: engine.run(connection, SLEEP))
    elapsed = now() - begin
    _many(engine, containers, engine.remove)
    return COUNT / elapsed


def load(engine: Engine) -> float:
    """Load an image of many files; MB of archive a second."""
    archive = material.archive()
    with engine.connect() as connection:
        connection.request("DELETE", f"/images/{material.IMAGE}?force=1", allow=(404,))
    begin = now()
    engine.docker("load", "-q", "-i", str(archive))
    elapsed = now() - begin
    with engine.connect() as connection:
        connection.request("DELETE", f"/images/{material.IMAGE}?force=1")
    return archive.stat().st_size / 1e6 / elapsed


def save(engine: Engine) -> float:
    """Save the same image to a file; MB of the archive a second."""
    archive = material.archive()
    engine.docker("load", "-q", "-i", str(archive))
    with tempfile.TemporaryDirectory(dir=archive.parent) as directory:
        begin = now()
        engine.docker("save", "-o", f"{directory}/saved.tar", material.IMAGE)
        elapsed = now() - begin
    with engine.connect() as connection:
        connection.request("DELETE", f"/images/{material.IMAGE}?force=1")
    return archive.stat().st_size / 1e6 / elapsed


def pull(engine: Engine) -> float:
    """Pull the same image, in gzip, from a registry on this machine; MB of the plain archive a second."""
    with harbour(engine) as name:
        begin = now()
        engine.docker("pull", "-q", name)
        elapsed = now() - begin
        with engine.connect() as connection:
            connection.request("DELETE", f"/images/{name}?force=1")
    return material.archive().stat().st_size / 1e6 / elapsed


def push(engine: Engine) -> float:
    """Push the same image, just loaded, to a registry that has nothing; MB of the plain archive a second."""
    archive = material.archive()
    engine.docker("load", "-q", "-i", str(archive))
    with empty_harbour(engine) as name:
        engine.docker("tag", material.IMAGE, name)
        begin = now()
        engine.docker("push", "-q", name)
        elapsed = now() - begin
    with engine.connect() as connection:
        for known in (name, material.IMAGE):
            connection.request("DELETE", f"/images/{known}?force=1")
    return archive.stat().st_size / 1e6 / elapsed


def log_write(engine: Engine) -> float:
    """Let a container write 200 MB of lines with nobody attached; MB a second."""
    text = material.text()
    with engine.connect() as connection:
        container = _log_container(engine, connection, text)
        begin = now()
        connection.request("POST", f"/containers/{container}/start")
        connection.request("POST", f"/containers/{container}/wait")
        elapsed = now() - begin
        engine.remove(connection, container)
    return text.stat().st_size / 1e6 / elapsed


def log_read(engine: Engine) -> float:
    """Read the log of a container that wrote 200 MB by `docker logs`; MB of what it wrote a second."""
    text = material.text()
    size = text.stat().st_size
    with engine.connect() as connection:
        container = _log_container(engine, connection, text)
        connection.request("POST", f"/containers/{container}/start")
        connection.request("POST", f"/containers/{container}/wait")
        begin = now()
        done = engine.docker("logs", container, output=subprocess.PIPE)
        elapsed = now() - begin
        engine.remove(connection, container)
    if len(done.stdout) < size:
        raise RuntimeError(f"{size - len(done.stdout)} bytes of the log are missing")
    return size / 1e6 / elapsed


def idle_memory(engine: Engine) -> float:
    """Look at the daemon without containers; MiB of proportional memory of all its processes."""
    time.sleep(2)
    return engine.footprint().mib


def container_memory(engine: Engine) -> float:
    """Let 50 containers sleep; MiB that the engine's processes take more for each."""
    before = engine.footprint().mib
    containers = _many(engine, range(COUNT), lambda connection, _: engine.run(connection, SLEEP), clients=4)
    time.sleep(3)
    after = engine.footprint(containers).mib
    _many(engine, containers, engine.remove)
    return (after - before) / COUNT


def list_api(engine: Engine) -> float:
    """List 50 running containers; requests a second by 8 clients."""
    containers = _many(engine, range(COUNT), lambda connection, _: engine.run(connection, SLEEP, "none"), clients=4)
    try:
        return hammer(lambda: _unix(engine.path), "/v1.41/containers/json", CLIENTS)
    finally:
        _many(engine, containers, engine.remove)


def published_port(engine: Engine) -> float:
    """Ask a server behind a published port from its host; requests a second over kept-alive connections."""
    with engine.connect() as connection:
        container = engine.run(
            connection,
            ["/usr/bin/python3", "-I", "-S", "/server.py"],
            ExposedPorts={"8080/tcp": {}},
            HostConfig={
                "Binds": [*(f"{path}:{path}:ro" for path in ("/usr", "/lib", "/lib64") if Path(path).exists())]
                + [f"{material.SERVER}:/server.py:ro"],
                "PortBindings": {"8080/tcp": [{"HostPort": ""}]},
            },
        )
        try:
            ports = connection.json("GET", f"/containers/{container}/json")["NetworkSettings"]["Ports"]
            port = ports["8080/tcp"][0]["HostPort"]
            time.sleep(1)
            command = [*engine.netns, sys.executable, "-m", "bench.hammer", "127.0.0.1", port]
            return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        finally:
            engine.remove(connection, container)


def recovery(engine: Engine) -> float:
    """Kill the daemon with 50 containers running and start it; milliseconds until all are listed as running."""
    if not isinstance(engine, Managed):
        raise RuntimeError("only a daemon that this benchmark started can be killed")
    containers = set(_many(engine, range(COUNT), lambda connection, _: engine.run(connection, SLEEP), clients=4))
    engine.kill()
    begin = now()
    engine.spawn()
    listed: set[str] = set()
    while not listed >= containers:
        if now() - begin > 120:
            raise RuntimeError(f"{len(containers - listed)} containers did not come back")
        try:
            with engine.connect() as connection:
                listed = {container["Id"] for container in connection.json("GET", "/containers/json")}
        except (OSError, RuntimeError, ValueError):
            time.sleep(0.002)
    elapsed = now() - begin
    _many(engine, containers, engine.remove)
    return elapsed * 1e3


class _container:
    """A sleeping container and a connection, for the time of a measurement."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection = engine.connect()

    def __enter__(self) -> tuple[Connection, str]:
        self._id = self._engine.run(self._connection, SLEEP, "none")
        return self._connection, self._id

    def __exit__(self, *exception: object) -> None:
        self._engine.remove(self._connection, self._id)
        self._connection.close()


def _log_container(engine: Engine, connection: Connection, text: Path) -> str:
    limits = {"max-size": "1g", "max-file": "1"}
    host = {"Binds": [f"{text}:/text:ro"], "LogConfig": {"Type": "json-file", "Config": limits}}
    return engine.create(connection, ["cat", "/text"], "none", HostConfig=host)


def _many(
    engine: Engine, items: Iterable[Item], work: Callable[[Connection, Item], str | None], clients: int = CLIENTS
) -> list[str]:
    """Do `work` for each of `items` by several clients at once."""
    todo = list(items)

    def client(number: int) -> list[str]:
        with engine.connect() as connection:
            return [str(work(connection, item)) for item in todo[number::clients]]

    with ThreadPoolExecutor(clients) as pool:
        return [result for results in pool.map(client, range(clients)) for result in results]


def _unix(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


FIGURES = (
    Figure("create to first byte, bridge", "ms", functools.partial(first_byte, network="bridge"), 10),
    Figure("create to first byte, none", "ms", functools.partial(first_byte, network="none"), 10),
    Figure("exec by the API", "ms", exec_api, 6),
    Figure("docker run --rm", "ms", run_cli, 5),
    Figure("50 containers by 8 clients", "/s", parallel, 6, more_is_better=True, rounds=3),
    Figure("docker load", "MB/s", load, 1.5, more_is_better=True, rounds=3),
    Figure("docker save", "MB/s", save, 2, more_is_better=True, rounds=3),
    Figure("docker pull", "MB/s", pull, 2, more_is_better=True, rounds=3),
    Figure("docker push", "MB/s", push, 2, more_is_better=True, rounds=3),
    Figure("log write", "MB/s", log_write, 3, more_is_better=True, rounds=3),
    Figure("log read", "MB/s", log_read, 4, more_is_better=True, rounds=3),
    Figure("daemon memory", "MiB", idle_memory, 2, rounds=1),
    Figure("memory per idle container", "MiB", container_memory, 3, rounds=1),
    Figure("list of 50 containers", "/s", list_api, 2, more_is_better=True, rounds=2),
    Figure("requests through a port", "/s", published_port, 1, more_is_better=True, rounds=3),
    Figure("kill -9 until 50 are listed", "ms", recovery, 2, rounds=3),
)
