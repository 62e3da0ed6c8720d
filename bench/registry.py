"""``python -m bench.registry``: Orlop's registry beside Debian's docker-registry, by plain HTTP over loopback.

Both run in one network namespace and keep their data on the same disk; samples alternate. Pushes are what clients do:
POST, then PUT with the body. Nothing else should run.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_MIB = 1 << 20
_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Peer:
    """A registry on a port of loopback."""

    name: str
    port: int

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def push(self, data: bytes) -> float:
        """Push a blob; return the seconds that it took."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        started = time.perf_counter()
        connection = self.connect()
        location = _ask(connection, "POST", "/v2/bench/blobs/uploads/").headers["Location"]
        path = location.removeprefix(f"http://127.0.0.1:{self.port}")
        _ask(connection, "PUT", f"{path}{'&' if '?' in path else '?'}digest={digest}", data)
        seconds = time.perf_counter() - started
        connection.close()
        return seconds


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None, kind: str = ""
) -> http.client.HTTPResponse:
    connection.request(method, path, body, {"Content-Type": kind or "application/octet-stream", "Accept": _MANIFEST})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {content[:200]!r}")
    return answer


def _push_rate(peer: Peer, size: int) -> float:
    return size / _MIB / peer.push(os.urandom(_MIB) * (size // _MIB))


def _pull_rate(peer: Peer, digest: str, size: int) -> float:
    connection = peer.connect()

    def pull() -> None:
        connection.request("GET", f"/v2/bench/blobs/{digest}")
        answer = connection.getresponse()
        buffer = bytearray(_MIB)
        while answer.readinto(buffer):
            pass

    seconds = _seconds(pull)
    connection.close()
    return size / _MIB / seconds


def _latency(peer: Peer, method: str, path: str, count: int = 300) -> float:
    connection = peer.connect()
    times = [_seconds(lambda: _ask(connection, method, path)) for _ in range(count)]
    connection.close()
    return statistics.median(times) * 1e6


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(peers: list[Peer], size: int, rounds: int) -> None:
    """Print a table: the medians and how many times better the first peer is."""
    blob = os.urandom(_MIB) * (size // _MIB)
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": size}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": []}).encode()
    for peer in peers:
        peer.push(blob)
        _ask(peer.connect(), "PUT", "/v2/bench/manifests/v1", manifest, _MANIFEST)
    figures: list[tuple[str, str, bool, Callable[[Peer], float]]] = [
        (f"push {size // _MIB} MiB", "MiB/s", True, lambda peer: _push_rate(peer, size)),
        (f"pull {size // _MIB} MiB", "MiB/s", True, lambda peer: _pull_rate(peer, digest, size)),
        ("push 1 KiB", "µs", False, lambda peer: 1e6 * peer.push(os.urandom(1024))),
        ("HEAD of a blob", "µs", False, lambda peer: _latency(peer, "HEAD", f"/v2/bench/blobs/{digest}")),
        ("GET of a manifest", "µs", False, lambda peer: _latency(peer, "GET", "/v2/bench/manifests/v1")),
    ]
    print(f"{'':24}" + "".join(f"{peer.name:>18}" for peer in peers))
    for name, unit, more_is_better, take in figures:
        samples: dict[str, list[float]] = {peer.name: [] for peer in peers}
        for number in range(rounds):
            for peer in peers if number % 2 == 0 else reversed(peers):
                samples[peer.name].append(take(peer))
        medians = [statistics.median(samples[peer.name]) for peer in peers]
        line = f"{name:24}" + "".join(f"{median:12.0f} {unit:5}" for median in medians)
        if len(medians) > 1:
            gain = medians[0] / medians[1] if more_is_better else medians[1] / medians[0]
            line += f" {gain:6.2f}x"
        print(line, flush=True)


@contextlib.contextmanager
def _running(name: str, port: int, command: list[str]) -> Iterator[Peer]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    peer = Peer(name, port)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                _ask(peer.connect(), "GET", "/v2/")
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{name} does not start") from None
                time.sleep(0.05)
        yield peer
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.registry", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=128, help="MiB of the large blob")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each figure")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: needs root")
    if "ORLOP_BENCH_NETNS" not in os.environ:  # once more in a network namespace of its own
        again = f"ip link set lo up && exec {sys.executable} -m bench.registry {' '.join(sys.argv[1:])}"
        os.environ["ORLOP_BENCH_NETNS"] = "1"
        os.execvp("unshare", ["unshare", "-n", "sh", "-c", again])
    with contextlib.ExitStack() as stack:
        root = Path(tempfile.mkdtemp(prefix="ob-registry-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        program = str(Path(sys.executable).parent / "orlop-registry")
        command = [program, "serve", f"--root={root}/orlop", "--listen=127.0.0.1:5001", "--log-level=error"]
        peers = [stack.enter_context(_running("orlop-registry", 5001, command))]
        if found := shutil.which("docker-registry"):
            config = root / "config.yml"
            config.write_text(_CONFIG.format(root=root / "docker", port=5002))
            peers.append(stack.enter_context(_running("docker-registry", 5002, [found, "serve", str(config)])))
        else:
            print("docker-registry is not installed: Orlop alone", file=sys.stderr)
        measure(peers, arguments.size * _MIB, arguments.rounds)


if __name__ == "__main__":
    main()
