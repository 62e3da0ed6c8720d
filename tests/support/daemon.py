"""A real `orlopd` for tests: roots of its own, a network namespace of its own, gone without a trace at the end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from support.netns import NetworkNamespace, network_namespace

__all__ = ["Daemon", "daemon"]

START_SECONDS = 120.0  # an emulated machine takes its time
BIN = Path(sys.executable).parent


class Daemon:
    """One instance of Orlop; its daemon may be stopped, killed and started again."""

    def __init__(self, root: Path, netns: NetworkNamespace, arguments: Sequence[str] = ()) -> None:
        self.root = root
        self.data_root = root / "data"
        self.exec_root = root / "run"
        self.socket = root / "run/orlop.sock"
        self.log = root / "log"
        self.netns = netns
        self.arguments = list(arguments)
        self.process: subprocess.Popen[bytes] | None = None
        self._docker_config = root / "docker"
        self._docker_config.mkdir()
        (root / "daemon.json").write_text("{}")

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    @property
    def instance(self) -> str:
        """The instance id of its data root."""
        return (self.data_root / "instance").read_text().strip()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *arguments: str) -> None:
        """Start the daemon and wait until it answers. Fails with its log when it does not."""
        command: list[str | Path] = [
            *(BIN / "orlopd", f"--host={self.host}", f"--config-file={self.root / 'daemon.json'}"),
            *(f"--data-root={self.data_root}", f"--exec-root={self.exec_root}"),
            *(f"--pidfile={self.root / 'orlopd.pid'}", *self.arguments, *arguments),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.netns.command(*command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            status = self.process.poll()
            assert status is None, f"orlopd ended with status {status}:\n{self.log_tail()}"
            assert time.monotonic() < deadline, f"orlopd does not answer:\n{self.log_tail()}"
            time.sleep(0.02)

    def answers(self) -> bool:
        """Tell whether the API answers."""
        try:
            return self.request("GET", "/_ping")[0] == 200
        except OSError:
            return False

    def stop(self, timeout: float = 30) -> int:
        """Ask the daemon to go; containers run on. Return its exit status."""
        return self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """Kill the daemon outright; containers run on."""
        self._end(signal.SIGKILL, 10)

    def restart(self, *arguments: str) -> None:
        """Stop the daemon and start it again."""
        self.stop()
        self.start(*arguments)

    def _end(self, number: int, timeout: float) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(timeout)
        self.process = None
        return status

    def log_tail(self, lines: int = 40) -> str:
        """Return the end of the daemon's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def request(self, method: str, path: str, body: object = None, timeout: float = 60) -> tuple[int, bytes]:
        """Make a plain API request; return the status and the body."""
        connection = _UnixConnection(str(self.socket), timeout)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: object = None) -> Any:
        """Make an API request that has to succeed; return its JSON."""
        status, data = self.request(method, path, body)
        assert status < 400, f"{method} {path}: {status} {data.decode(errors='replace')}"
        return json.loads(data) if data else None

    def load(self, archive: Path) -> None:
        """Load an image archive."""
        connection = _UnixConnection(str(self.socket), 120)
        try:
            with archive.open("rb") as file:
                headers = {"Content-Type": "application/x-tar", "Content-Length": str(archive.stat().st_size)}
                connection.request("POST", "/images/load?quiet=1", file, headers)
                answer = connection.getresponse()
                text = answer.read().decode(errors="replace")
            assert answer.status == 200 and "errorDetail" not in text, f"{archive}: {answer.status} {text}"  # noqa: PT018
        finally:
            connection.close()

    def command(self, program: str) -> tuple[list[str], dict[str, str]]:
        """Return the words and the environment by which `docker` or `orlop` talks to this daemon."""
        environment = os.environ | {
            "DOCKER_HOST": self.host,
            "DOCKER_CONFIG": str(self._docker_config),
            "DOCKER_BUILDKIT": "0",
            "DOCKER_CLI_HINTS": "false",
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm",
        }
        for name in ("DOCKER_CONTEXT", "DOCKER_API_VERSION", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
            environment.pop(name, None)
        return [program if program != "orlop" else str(BIN / "orlop")], environment

    def cli(
        self,
        program: str,
        *words: str | Path,
        check: bool = True,
        input: str | None = None,
        timeout: float = 60,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker` or `orlop` against this daemon; a failure shows what it wrote, unless `check` is off."""
        command, environment = self.command(program)
        stdin = subprocess.DEVNULL if input is None else None
        done = subprocess.run(
            [*command, *map(str, words)],
            stdin=stdin,
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment | (env or {}),
        )
        assert not check or done.returncode == 0, (
            f"{program} {' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done

    def remove_everything(self) -> None:
        """Remove all containers and all volumes that are not in use then."""
        for container in self.json("GET", "/containers/json?all=1"):
            self.request("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        self.request("POST", "/volumes/prune?filters=" + quote('{"all":["1"]}'))

    def close(self) -> None:
        """Remove its containers and end the daemon, whatever state it is in; fail if processes are left."""
        if self.process is None:
            with contextlib.suppress(AssertionError):
                self.start()
        if self.process is not None:
            with contextlib.suppress(OSError, AssertionError, http.client.HTTPException):
                self.remove_everything()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop(20)
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def cgroup_parents(self) -> list[Path]:
        """Return the directories (one a hierarchy) that hold the cgroups of its containers."""
        root = Path("/sys/fs/cgroup")
        return [*root.glob(f"orlop-{self.instance}"), *root.glob(f"*/orlop-{self.instance}")]

    def commands(self) -> list[bytes]:
        """Return the command lines of all that runs in its containers and in steps of its builds."""
        found = []
        for directory in [path for parent in self.cgroup_parents() for path, _, _ in os.walk(parent)]:
            with contextlib.suppress(OSError):  # it has gone
                for pid in Path(directory, "cgroup.procs").read_text().split():
                    found.append(Path(f"/proc/{pid}/cmdline").read_bytes())
        return found

    def check_gone(self) -> None:
        """Remove the parent cgroups of an instance that ended for good. Fails if one of its processes is left."""
        deadline = time.monotonic() + 10
        while (left := self.netns.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        names = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ") for pid in left]
        for parent in self.cgroup_parents():
            for directory, _, _ in os.walk(parent, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
        assert not left, f"processes that outlived their daemon and containers: {names}"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@contextlib.contextmanager
def daemon(*arguments: str, netns: NetworkNamespace | None = None) -> Iterator[Daemon]:
    """Start an `orlopd` with further `arguments`, in a namespace of its own unless one is given to be shared."""
    with contextlib.ExitStack() as stack:
        namespace = netns or stack.enter_context(network_namespace())
        root = Path(tempfile.mkdtemp(prefix="orlop-"))
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        instance = Daemon(root, namespace, arguments)
        try:
            instance.start()
            yield instance
        finally:
            instance.close()
        if netns is None:
            instance.check_gone()
