"""``python -m bench.builds``: building images beside dockerd's classic builder and, where it was built, BuildKit.

Each figure is a build by the docker command (`DOCKER_BUILDKIT=0`) or, for BuildKit, by buildctl, which leaves the
result in BuildKit's cache: nothing is exported. Samples alternate; the table shows medians in seconds, beside each peer
how many times as long it takes as Orlop, and what is wanted of that. Needs root, docker, runc; nothing else should run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import daemons
from bench.engine import IMAGE, Engine

_ROOT = Path(__file__).resolve().parent.parent
_STEPS = "".join(f"RUN echo {number} > /{number}\n" for number in range(20))
_STAGES = "".join(f"FROM busybox AS s{number}\nRUN sleep 2 && echo {number} > /{number}\n" for number in range(3))
_COPIES = "".join(f"COPY --from=s{number} /{number} /\n" for number in range(3))
_FILES, _SIZE = 10_000, 20_000

Build = Callable[[Path, bool], None]
"""Builds a directory; the flag says that nothing may come from the cache."""


@dataclass(frozen=True)
class Peer:
    """A builder."""

    name: str
    build: Build


@dataclass(frozen=True)
class Figure:
    """A figure: what is built, what is done to it before each sample, and what is wanted of each peer."""

    name: str
    dockerfile: str
    cached: bool = False
    prepare: Callable[[Path], None] | None = None
    wanted: dict[str, float] = field(default_factory=dict)
    at_most: float | None = None
    """Seconds."""


def _fill(context: Path) -> None:
    """Make the files, or give each of them a content that no builder has seen."""
    rest = os.urandom(_SIZE - 64)
    for number in range(_FILES):
        path = context / f"files/{number // 100}/{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(64) + rest)
    os.sync()


def _change_one(context: Path) -> None:
    (context / "files/7/777").write_bytes(os.urandom(_SIZE))


FIGURES = (
    Figure("20 steps", f"FROM busybox\n{_STEPS}", wanted={"dockerd": 8, "buildkit": 3}),
    Figure("20 steps, all cached", f"FROM busybox\n{_STEPS}", cached=True, wanted={"dockerd": 1}),
    Figure("10,000 files of 20 KB", "FROM busybox\nCOPY files /files\n", prepare=_fill, wanted={"dockerd": 3}),
    Figure("one of them changed", "FROM busybox\nCOPY files /files\n", cached=True, prepare=_change_one),
    Figure("three stages of sleep 2", f"{_STAGES}FROM busybox\n{_COPIES}", at_most=2.5),
)


def _by_docker(engine: Engine) -> Build:
    def build(context: Path, cached: bool) -> None:
        engine.docker("build", "-q", *([] if cached else ["--no-cache"]), str(context))

    return build


def _by_orlop(engine: Engine, home: Path) -> Build:
    def build(context: Path, cached: bool) -> None:
        orlop: list[str | Path] = [Path(sys.executable).parent / "orlop", "build", "-q"]
        _run([*orlop, *([] if cached else ["--no-cache"]), context], engine.environment | {"XDG_CACHE_HOME": str(home)})

    return build


def _by_buildkit(socket: Path, layout: Path) -> Build:
    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]

    def build(context: Path, cached: bool) -> None:
        command: list[str | Path] = [
            *(daemons.go_program("buildctl"), "--addr", f"unix://{socket}", "build", "--progress=quiet"),
            *("--frontend=dockerfile.v0", "--local", f"context={context}", "--local", f"dockerfile={context}"),
            *("--oci-layout", f"base={layout}", "--opt", f"context:busybox=oci-layout://base@{manifest}"),
        ]
        _run(command if cached else [*command, "--no-cache"], dict(os.environ))

    return build


def _run(command: Sequence[str | Path], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr[-800:]}")


def measure(figure: Figure, peers: Sequence[Peer], place: Path, rounds: int) -> str:
    """Return the line of a figure, whose contexts are in `place`. The first sample fills caches and does not count."""
    context = place / ("files" if figure.prepare else "nothing")
    (context / "Dockerfile").write_text(figure.dockerfile)
    samples: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for number in range(rounds + 1):
        for peer in peers if number % 2 == 0 else reversed(peers):
            if figure.prepare:
                figure.prepare(context)
            begin = time.perf_counter()
            peer.build(context, figure.cached)
            if number:
                samples[peer.name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(values) for name, values in samples.items()}
    line = f"{figure.name:26}" + "".join(f"{median:12.3f}" for median in medians.values()) + " s"
    first = next(iter(medians.values()))
    for name, wanted in figure.wanted.items():
        if name in medians:
            gain = medians[name] / first
            line += f"  {name} {gain:.2f}x, wanted {wanted:g}x {'ok' if gain >= wanted else 'MISSED'}"
    if figure.at_most is not None:
        line += f"  wanted at most {figure.at_most:g} s {'ok' if first <= figure.at_most else 'MISSED'}"
    return line


@contextlib.contextmanager
def _peers(place: Path) -> Iterator[list[Peer]]:
    """Run every builder that there is, with the base image."""
    archive = place / "busybox.tar"
    subprocess.run([sys.executable, _ROOT / "scripts/base_image.py", "--tag", IMAGE, archive], check=True)
    with contextlib.ExitStack() as stack:
        orlop = stack.enter_context(daemons.orlopd())
        orlop.docker("load", "-q", "-i", str(archive))
        peers = [Peer("orlop", _by_docker(orlop)), Peer("orlop build", _by_orlop(orlop, place / "home"))]
        try:
            dockerd = stack.enter_context(daemons.dockerd())
            dockerd.docker("load", "-q", "-i", str(archive))
            peers.append(Peer("dockerd", _by_docker(dockerd)))
        except FileNotFoundError as missing:
            print(f"without dockerd: {missing}", file=sys.stderr)
        try:
            socket = stack.enter_context(daemons.buildkitd())
            layout = place / "layout"
            shutil.unpack_archive(archive, layout, filter="data")
            peers.append(Peer("buildkit", _by_buildkit(socket, layout)))
        except FileNotFoundError as missing:
            print(f"without BuildKit: {missing}", file=sys.stderr)
        yield peers


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.builds", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", metavar="TEXT", help="only figures with this in their name")
    parser.add_argument("--rounds", type=int, default=3, help="samples of each figure")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: needs root")
    with tempfile.TemporaryDirectory(prefix="ob-builds-", dir="/var/tmp") as directory:
        place = Path(directory)
        (place / "nothing").mkdir()
        _fill(place / "files")
        with _peers(place) as peers:
            print(f"{'':26}" + "".join(f"{peer.name:>12}" for peer in peers), flush=True)
            for figure in FIGURES:
                if not arguments.only or any(text in figure.name for text in arguments.only):
                    print(measure(figure, peers, place, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
