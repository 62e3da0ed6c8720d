"""Orlop's registry for tests: a server with a root of its own, on a unix socket and, where asked for, on a port."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.netns import NetworkNamespace

__all__ = ["Answer", "OrlopRegistry", "config_of", "digest_of", "image_of", "orlop_registry"]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PROGRAM = Path(sys.executable).parent / "orlop-registry"
START_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """What the registry answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def codes(self) -> list[str]:
        """The codes of the errors that it tells of."""
        return [error["code"] for error in self.json["errors"]]


class OrlopRegistry:
    """A registry whose server may be killed and started again. With `netns` it listens at ``localhost:5000`` there."""

    def __init__(self, directory: Path, netns: NetworkNamespace | None, arguments: tuple[str | Path, ...]) -> None:
        self.root = directory / "root"
        self.socket = directory / "sock"
        self.log = directory / "log"
        self.netns = netns
        self.arguments = arguments
        self.headers: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    host = "localhost:5000"

    def start(self, *arguments: str | Path) -> None:
        """Start the server and wait until it answers."""
        listen = [f"--listen=unix:{self.socket}", *([f"--listen={self.host}"] if self.netns else [])]
        command = [PROGRAM, "serve", f"--root={self.root}", *listen, *self.arguments, *arguments]
        words = list(map(str, command))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.netns.command(*words) if self.netns else words, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self.process.poll() is None, f"it ended:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"it does not answer:\n{self.log.read_text()}"
            time.sleep(0.02)

    def answers(self) -> bool:
        try:
            return self.request("GET", "/v2/").status in (200, 401)
        except OSError:
            return False

    def stop(self) -> int:
        """Ask the server to end; return its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(60)
        self.process = None
        return status

    def connect(self) -> socket.socket:
        """Return a plain connection to the server."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(60)
        sock.connect(str(self.socket))
        return sock

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, chunked: bool = False
    ) -> Answer:
        """Make one request on a connection of its own."""
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = self.connect()
        try:
            connection.request(method, path, body, self.headers | dict(headers or {}), encode_chunked=chunked)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def push_blob(self, name: str, data: bytes, algorithm: str = "sha256") -> str:
        """Push a blob in one request; return its digest."""
        digest = digest_of(data, algorithm)
        answer = self.request("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data)
        assert answer.status == 201, answer.body
        return digest

    def push(self, name: str, reference: str, document: Any, media_type: str = OCI_MANIFEST) -> Answer:
        """Push a manifest."""
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.request("PUT", f"/v2/{name}/manifests/{reference}", data, {"Content-Type": media_type})

    def push_image(self, name: str, reference: str, seed: bytes = b"", **more: Any) -> str:
        """Push an image of one small layer; return its digest."""
        document = image_of(seed, **more)
        self.push_blob(name, config_of(seed))
        self.push_blob(name, b"layer" + seed)
        answer = self.push(name, reference, document)
        assert answer.status == 201, answer.body
        return str(answer.headers["Docker-Content-Digest"])

    def collect(self, *arguments: str) -> str:
        """Run ``orlop-registry gc``; return what it says."""
        done = subprocess.run(
            [PROGRAM, "gc", f"--root={self.root}", *arguments], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def config_of(seed: bytes = b"") -> bytes:
    return b'{"architecture":"amd64","os":"linux","x":"%s"}' % seed


def image_of(seed: bytes = b"", **more: Any) -> dict[str, Any]:
    """Return a manifest of `config_of(seed)` and one layer."""

    def descriptor(media_type: str, data: bytes) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config_of(seed)),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", b"layer" + seed)],
        **more,
    }


@contextlib.contextmanager
def orlop_registry(*arguments: str | Path, netns: NetworkNamespace | None = None) -> Iterator[OrlopRegistry]:
    """Run a registry; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="orlop-registry-") as directory:
        registry = OrlopRegistry(Path(directory), netns, arguments)
        registry.start("--log-level=debug")
        try:
            yield registry
            log = registry.log.read_text()
            assert "Traceback" not in log, log
        finally:
            if registry.process is not None:
                registry.stop()
