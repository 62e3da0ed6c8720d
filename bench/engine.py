"""An engine under measurement: its API, its command line, its processes and their memory."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.connection import Connection

__all__ = ["IMAGE", "Engine", "Footprint"]

IMAGE = "busybox:latest"
LABEL = "orlop-bench"


class Footprint:
    """What an engine's own processes take: MiB of proportional memory, and how many there are."""

    def __init__(self, pids: Iterable[int]) -> None:
        self.pids = sorted(pids)
        self.mib = sum(_proportional_kib(pid) for pid in self.pids) / 1024


class Engine:
    """An engine by its socket. `netns` is the command prefix that runs a program in its network namespace."""

    helpers: tuple[int, ...] = ()
    """Processes that belong to the engine beside its daemon."""

    def __init__(self, name: str, path: str, netns: tuple[str, ...] = ()) -> None:
        self.name = name
        self.path = path
        self.netns = netns
        self.environment = os.environ | {
            "DOCKER_HOST": f"unix://{path}",
            "DOCKER_BUILDKIT": "0",
            "DOCKER_CLI_HINTS": "false",
        }

    def connect(self) -> Connection:
        return Connection(self.path)

    def docker(self, *words: str, output: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[bytes]:
        """Run the docker command against this engine; `output` is where it writes."""
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            ["docker", *words], env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE
        )
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(words)} on {self.name}: {done.stderr[-500:]!r}")
        return done

    def version(self) -> str:
        with self.connect() as connection:
            found = connection.json("GET", "/version")
        own = [part["Version"] for part in found.get("Components") or () if part["Name"] == "Orlop"]
        return f"Orlop {own[0]}" if own else f"dockerd {found['Version']}"

    def create(self, connection: Connection, command: list[str], network: str = "bridge", **more: Any) -> str:
        """Create a container; return its id."""
        host = {"NetworkMode": network} | more.pop("HostConfig", {})
        body = {
            "Image": IMAGE,
            "Cmd": command,
            "AttachStdout": True,
            "AttachStderr": True,
            "Labels": {LABEL: ""},
            "HostConfig": host,
        }
        return str(connection.json("POST", "/containers/create", body | more)["Id"])

    def run(self, connection: Connection, command: list[str], network: str = "bridge", **more: Any) -> str:
        """Create and start a container; return its id."""
        container = self.create(connection, command, network, **more)
        connection.request("POST", f"/containers/{container}/start")
        return container

    def remove(self, connection: Connection, container: str) -> None:
        connection.request("DELETE", f"/containers/{container}?force=1&v=1", allow=(404, 409))

    def clean_up(self) -> None:
        """Remove all containers that benchmarks made."""
        with self.connect() as connection:
            filters = quote(json.dumps({"label": [LABEL]}))
            for container in connection.json("GET", f"/containers/json?all=1&filters={filters}"):
                self.remove(connection, container["Id"])

    def pid(self) -> int:
        """Return the process that listens on the socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.path)
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[0])

    def footprint(self, containers: Iterable[str] = ()) -> Footprint:
        """Measure the daemon's process tree and every ancestor of `containers`; their own processes do not count."""
        parents = _parents()
        children = defaultdict(list)
        for pid, parent in parents.items():
            children[parent].append(pid)
        own, waiting = set(), [self.pid(), *self.helpers]
        while waiting:
            pid = waiting.pop()
            own.add(pid)
            waiting += children[pid]
        with self.connect() as connection:
            for container in containers:
                ancestor = parents.get(connection.json("GET", f"/containers/{container}/json")["State"]["Pid"], 0)
                while ancestor > 1 and ancestor not in own:
                    own.add(ancestor)
                    ancestor = parents.get(ancestor, 0)
        here = Path("/proc/self/ns/pid").readlink()
        return Footprint(pid for pid in own if _namespace(pid) == here)


def _parents() -> dict[int, int]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    return found


def _namespace(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/ns/pid").readlink()
    except OSError:
        return None


def _proportional_kib(pid: int) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0
