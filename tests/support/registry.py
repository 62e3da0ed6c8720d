"""Debian's docker-registry for tests, in the network namespace of a daemon, with a proxy that sees what is asked."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import registry_proxy
from support.netns import NetworkNamespace

__all__ = ["DockerRegistry", "docker_registry"]

_START_SECONDS = 30.0


class DockerRegistry:
    """A registry at ``localhost:<port>`` of its namespace, and the same behind a proxy at ``localhost:<watched>``."""

    port = 5000
    watched = 5001

    def __init__(self, root: Path, netns: NetworkNamespace) -> None:
        self.root = root
        self.netns = netns

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    @property
    def watched_host(self) -> str:
        return f"localhost:{self.watched}"

    def put(self, archive: Path, name: str, *options: str) -> None:
        """Copy the image of a docker archive to ``name`` (``repository:tag``) by skopeo; it compresses the layers."""
        done = self.netns.run(
            *("skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", *options),
            *(f"docker-archive:{archive}", f"docker://{self.host}/{name}"),
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr

    def requests(self) -> list[str]:
        """Return what was asked of the proxy since the last time: method, path, range."""
        path = self.root / "requests"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def blobs(self) -> dict[str, str]:
        """Return the digests of the blobs that were asked of the proxy since the last time, with the range."""
        words = [line.split() for line in self.requests()]
        return {item[1].rpartition("/")[2]: " ".join(item[2:]) for item in words if "/blobs/" in item[1]}

    def slow_down(self, rate: float) -> None:
        """Let the proxy send `rate` bytes of a blob a second; 0 for as many as it can."""
        (self.root / "rate").write_text(str(rate))


@contextlib.contextmanager
def docker_registry(netns: NetworkNamespace, *, htpasswd: Path | None = None) -> Iterator[DockerRegistry]:
    """Run a registry and its proxy in `netns`; skip the test if a program is missing."""
    for program in ("docker-registry", "skopeo"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    with contextlib.ExitStack() as stack:
        root = Path(tempfile.mkdtemp(prefix="orlop-registry-"))
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        registry = DockerRegistry(root, netns)
        config = root / "config.yml"
        config.write_text(
            f"version: 0.1\nlog: {{level: warn}}\nhttp: {{addr: '127.0.0.1:{registry.port}'}}\n"
            f"storage: {{filesystem: {{rootdirectory: {root}/data}}, delete: {{enabled: true}}}}\n"
            "compatibility: {schema1: {enabled: true}}\n"
            + (f"auth: {{htpasswd: {{realm: test, path: {htpasswd}}}}}\n" if htpasswd else "")
        )
        programs = [
            ["docker-registry", "serve", config],
            [sys.executable, registry_proxy.__file__, registry.watched, registry.port, root],
        ]
        for words in programs:
            with (root / "log").open("ab") as log:
                process = subprocess.Popen(netns.command(*map(str, words)), stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        for port in (registry.port, registry.watched):
            _wait_for(netns, port, root / "log")
        yield registry


def _wait_for(netns: NetworkNamespace, port: int, log: Path) -> None:
    script = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)"
    deadline = time.monotonic() + _START_SECONDS
    while netns.run(sys.executable, "-c", script, check=False).returncode:
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.05)
