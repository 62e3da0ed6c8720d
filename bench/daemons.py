"""Engines for a benchmark: an orlopd of this checkout and the machine's dockerd, in network namespaces of their own.

A dockerd changes the host's rules and bridges; here it sees neither. It runs without its userland proxy (as Orlop has
none) and with live-restore (as Orlop always does), beside a containerd of its own that survives it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.connection import Connection
from bench.engine import Engine

__all__ = ["Managed", "buildkitd", "dockerd", "go_program", "orlopd"]

_DOCKER_PATHS = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"


class Managed(Engine):
    """An engine whose daemon is ours to kill and to start again."""

    def __init__(self, name: str, root: Path, netns: str, command: list[str], path: str = "") -> None:
        super().__init__(name, str(root / "api.sock"), ("nsenter", f"--net=/run/netns/{netns}", "--"))
        self._root = root
        self._command = [*self.netns, *command]
        self._variables = os.environ | ({"PATH": path} if path else {})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        self.spawn()
        deadline = time.monotonic() + 60
        while not self.answers():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                log = (self._root / "log").read_text(errors="replace")
                raise RuntimeError(f"{self.name} does not start:\n{log[-2000:]}")
            time.sleep(0.01)

    def spawn(self) -> None:
        """Start the daemon and do not wait."""
        with (self._root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._variables
            )

    def answers(self) -> bool:
        try:
            with Connection(self.path, 10) as connection:
                connection.request("GET", "/_ping")
            return True
        except (OSError, RuntimeError):
            return False

    def kill(self) -> None:
        """Kill the daemon outright."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Remove the containers and end the daemon."""
        if self._process is None or self._process.poll() is not None:
            return
        with contextlib.suppress(OSError, RuntimeError):
            self.clean_up()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()


@contextlib.contextmanager
def orlopd() -> Iterator[Managed]:
    """Run the orlopd of this checkout."""
    with _place() as (root, netns):
        program = Path(sys.executable).parent / "orlopd"
        (root / "daemon.json").write_text("{}")
        command = [
            *(str(program), f"--host=unix://{root}/api.sock", f"--data-root={root}/data", f"--exec-root={root}/run"),
            *(f"--pidfile={root}/pid", f"--config-file={root}/daemon.json"),
        ]
        yield from _running(Managed("orlop", root, netns, command))
        _remove_cgroups(f"orlop-{(root / 'data/instance').read_text().strip()}")


@contextlib.contextmanager
def dockerd(program: str = "") -> Iterator[Managed]:
    """Run the machine's dockerd (or `program`, with its containerd and runc beside it)."""
    found = program or shutil.which("dockerd", path=_DOCKER_PATHS)
    if not found:
        raise FileNotFoundError("no dockerd is installed (Debian's package docker.io has one)")
    path = f"{Path(found).parent}:{Path(found).parent.parent / 'bin'}:{_DOCKER_PATHS}:/sbin:/bin"
    containerd = shutil.which("containerd", path=path)
    if containerd is None:
        raise FileNotFoundError("dockerd is installed but containerd is not")
    with _place() as (root, netns):
        config = root / "containerd.toml"
        config.write_text(f'version = 2\nroot = "{root}/cd"\nstate = "{root}/cr"\n[grpc]\naddress = "{root}/cd.sock"\n')
        (root / "daemon.json").write_text("{}")
        isolated = ["nsenter", f"--net=/run/netns/{netns}", "--", "unshare", "--mount", "--"]
        with (root / "containerd.log").open("ab") as log:
            runtime = subprocess.Popen(
                [*isolated, containerd, "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"PATH": path},
            )
        try:
            mounts = f"--mount=/proc/{runtime.pid}/ns/mnt"
            command = [
                *("nsenter", mounts, "--", found, f"--host=unix://{root}/api.sock", f"--data-root={root}/data"),
                *(f"--exec-root={root}/run", f"--pidfile={root}/pid", f"--config-file={root}/daemon.json"),
                *(f"--containerd={root}/cd.sock", "--userland-proxy=false", "--live-restore"),
                f"--cgroup-parent=/{netns}",
            ]
            deadline = time.monotonic() + 30
            while not (root / "cd.sock").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            engine = Managed("dockerd", root, netns, command, path)
            engine.helpers = (runtime.pid,)
            yield from _running(engine)
        finally:
            runtime.terminate()
            runtime.wait()
            _remove_cgroups(netns)


_BUILDKITD = """\
root = "{root}/data"
[grpc]
address = ["unix://{root}/sock"]
[worker.containerd]
enabled = false
[worker.oci]
snapshotter = "overlayfs"
networkMode = "host"
defaultCgroupParent = "{netns}"
"""


def go_program(name: str) -> Path:
    """Return where scripts/setup.sh puts a program that it builds of Go modules. Raises `FileNotFoundError`."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orlop/go" / name
    if not path.exists():
        raise FileNotFoundError(f"there is no {path} (scripts/setup.sh test builds it)")
    return path


@contextlib.contextmanager
def buildkitd() -> Iterator[Path]:
    """Run BuildKit's daemon; give its socket. Its steps share the network namespace of the daemon."""
    program = go_program("buildkitd")
    if shutil.which("runc", path=_DOCKER_PATHS) is None:
        raise FileNotFoundError("runc is not installed")
    with _place() as (root, netns):
        (root / "buildkitd.toml").write_text(_BUILDKITD.format(root=root, netns=netns))
        (root / "tmp").mkdir()
        command = ["nsenter", f"--net=/run/netns/{netns}", "--", "unshare", "--mount", "--"]
        with (root / "log").open("ab") as log:
            process = subprocess.Popen(
                [*command, program, "--config", root / "buildkitd.toml"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"TMPDIR": f"{root}/tmp", "PATH": f"{os.environ['PATH']}:{_DOCKER_PATHS}"},
            )
        try:
            deadline = time.monotonic() + 60
            while b"running server" not in (root / "log").read_bytes():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"buildkitd does not start:\n{(root / 'log').read_text()[-2000:]}")
                time.sleep(0.02)
            yield root / "sock"
        finally:
            process.terminate()
            process.wait(60)
            _remove_cgroups(netns)


def _remove_cgroups(name: str) -> None:
    """Remove the empty cgroups that an engine leaves for its next start."""
    root = Path("/sys/fs/cgroup")
    for top in (*root.glob(name), *root.glob(f"*/{name}")):
        for directory, _, _ in os.walk(top, topdown=False):
            os.rmdir(directory)


def _running(engine: Managed) -> Iterator[Managed]:
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()


@contextlib.contextmanager
def _place() -> Iterator[tuple[Path, str]]:
    """Make a directory and a network namespace for one engine."""
    netns = f"orlop-bench-{secrets.token_hex(3)}"
    root = Path(tempfile.mkdtemp(prefix="ob-", dir="/var/tmp"))
    subprocess.run(["ip", "netns", "add", netns], check=True)
    try:
        subprocess.run(["ip", "-n", netns, "link", "set", "lo", "up"], check=True)
        yield root, netns
    finally:
        subprocess.run(["ip", "netns", "delete", netns], check=True)
        shutil.rmtree(root, ignore_errors=True)
