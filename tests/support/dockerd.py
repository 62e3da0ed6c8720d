"""The machine's dockerd as a peer for tests: roots of its own, a network and a mount namespace, gone at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from support.netns import NetworkNamespace, network_namespace

__all__ = ["Dockerd", "dockerd"]

_PATH = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/sbin:/bin"
_START_SECONDS = 60.0


class Dockerd:
    """A dockerd that answers. `run` runs the docker command against it."""

    def __init__(self, root: Path, netns: NetworkNamespace) -> None:
        self.root = root
        self.netns = netns
        self.host = f"unix://{root}/docker.sock"

    def run(
        self, *words: str | Path, check: bool = True, timeout: float = 120, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``docker words…``; a failure shows what it wrote, unless `check` is off."""
        done = subprocess.run(
            ["docker", *map(str, words)],
            stdin=subprocess.DEVNULL if input is None else None,
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=os.environ | {"DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "0", "DOCKER_CLI_HINTS": "false"},
        )
        assert not check or done.returncode == 0, f"docker {words} on dockerd: {done.stdout}{done.stderr}"
        return done


@contextlib.contextmanager
def dockerd(netns: NetworkNamespace | None = None, *arguments: str) -> Iterator[Dockerd]:
    """Run a dockerd beside a containerd of its own; skip the test if they are not installed.

    With `netns` it shares that network namespace: a registry on the loopback there is its registry, too.
    """
    for program in ("dockerd", "containerd", "docker"):
        if shutil.which(program, path=_PATH) is None:
            pytest.skip(f"needs {program}")
    with contextlib.ExitStack() as stack:
        namespace = netns or stack.enter_context(network_namespace())
        root = Path(tempfile.mkdtemp(prefix="orlop-dockerd-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        log = stack.enter_context((root / "log").open("ab"))
        (root / "containerd.toml").write_text(
            f'version = 2\nroot = "{root}/cd"\nstate = "{root}/cr"\n[grpc]\naddress = "{root}/cd.sock"\n'
        )
        (root / "daemon.json").write_text("{}")
        containerd = _spawn(["unshare", "--mount", "--", "containerd", "--config", f"{root}/containerd.toml"], log)
        stack.callback(_end, containerd)
        engine = Dockerd(root, namespace)
        _await(lambda: (root / "cd.sock").exists(), containerd, root)
        command = [
            *("nsenter", f"--mount=/proc/{containerd.pid}/ns/mnt", f"--net={namespace.path}", "--", "dockerd"),
            *(f"--host={engine.host}", f"--data-root={root}/data", f"--exec-root={root}/run"),
            *(f"--pidfile={root}/pid", f"--config-file={root}/daemon.json", f"--containerd={root}/cd.sock"),
            *(f"--cgroup-parent=/{root.name}", *arguments),
        ]
        daemon = _spawn(command, log)
        stack.callback(_remove_cgroups, root.name)
        stack.callback(_end, daemon)
        _await(lambda: engine.run("version", check=False).returncode == 0, daemon, root)
        yield engine
        engine.run("container", "prune", "-f", check=False)


def _spawn(command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=os.environ | {"PATH": _PATH},
        start_new_session=True,
    )


def _await(ready: Callable[[], bool], process: subprocess.Popen[bytes], root: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        log = (root / "log").read_text(errors="replace")[-2000:]
        assert process.poll() is None, f"it ended:\n{log}"
        assert time.monotonic() < deadline, f"it does not answer:\n{log}"
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _remove_cgroups(name: str) -> None:
    root = Path("/sys/fs/cgroup")
    for cgroup in (*root.glob(name), *root.glob(f"*/{name}")):
        with contextlib.suppress(OSError):
            cgroup.rmdir()
