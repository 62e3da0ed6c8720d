"""``python -m bench``: measure Orlop, a dockerd if there is one, and the bare kernel; print the ratios.

Without ``--a`` it starts an orlopd of this checkout, without ``--b`` the machine's dockerd if that is installed; both
in network namespaces of their own. Needs root, the docker command and the static busybox. Nothing else should run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import compare, daemons
from bench.engine import IMAGE, Engine
from bench.figures import FIGURES

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--a", metavar="NAME=SOCKET", help="an engine that runs already, instead of orlopd")
    parser.add_argument("--b", metavar="NAME=SOCKET", help="another one, instead of dockerd; 'none' for no other")
    parser.add_argument("--dockerd", default="", metavar="PROGRAM", help="the dockerd to start")
    parser.add_argument("--only", action="append", metavar="TEXT", help="only figures with this in their name")
    parser.add_argument("--rounds", type=int, help="samples of each figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to a file")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: needs root")
    if shutil.which("docker") is None:
        sys.exit("bench: needs the docker command")
    chosen = [figure for figure in FIGURES if not arguments.only or any(text in figure.name for text in arguments.only)]
    with contextlib.ExitStack() as stack:
        engines = [_given(arguments.a) if arguments.a else stack.enter_context(daemons.orlopd())]
        if arguments.b and arguments.b != "none":
            engines.append(_given(arguments.b))
        elif not arguments.b:
            try:
                engines.append(stack.enter_context(daemons.dockerd(arguments.dockerd)))
            except FileNotFoundError as missing:
                print(f"Orlop alone: {missing}", file=sys.stderr)
        for engine in engines:
            _load_base_image(engine)
        print(compare.report(engines), flush=True)
        results = []
        for figure in chosen:
            results.append(compare.measure(figure, engines, arguments.rounds))
            print(compare.row(results[-1], [engine.name for engine in engines]), flush=True)
        bare = compare.floors()
        for name, milliseconds in bare.items():
            print(f"{'floor: ' + name:30}{milliseconds:11.2f} ms")
        if arguments.json:
            compare.save(arguments.json, results, engines, bare)


def _given(text: str) -> Engine:
    name, separator, path = text.partition("=")
    if not separator:
        sys.exit(f"bench: {text} is not NAME=SOCKET")
    return Engine(name, path.removeprefix("unix://"))


def _load_base_image(engine: Engine) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "busybox.tar"
        subprocess.run([sys.executable, ROOT / "scripts/base_image.py", "--tag", IMAGE, path], check=True)
        engine.docker("load", "-q", "-i", str(path))


if __name__ == "__main__":
    main()
