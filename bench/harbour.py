"""A registry beside an engine: Debian's docker-registry, empty or with the image of many files in gzip."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import material
from bench.engine import Engine

__all__ = ["NAME", "empty_harbour", "harbour"]

NAME = "localhost:5000/files:latest"
_ROOT = Path("/var/tmp/orlop-bench/registry")
_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:5000"}}
"""


@contextlib.contextmanager
def harbour(engine: Engine) -> Iterator[str]:
    """Run the registry in the network namespace of `engine`, filled once for all; give the name of the image in it."""
    for program in ("docker-registry", "skopeo"):
        if shutil.which(program) is None:
            raise RuntimeError(f"needs {program}")
    fresh = _ROOT.with_suffix(".new")
    if not _ROOT.exists():
        shutil.rmtree(fresh, ignore_errors=True)
        with _registry(engine, fresh):
            archive = f"docker-archive:{material.archive()}"
            copy = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", archive, f"docker://{NAME}"]
            subprocess.run([*engine.netns, *copy], check=True)
        fresh.rename(_ROOT)
    with _registry(engine, _ROOT):
        yield NAME


@contextlib.contextmanager
def empty_harbour(engine: Engine) -> Iterator[str]:
    """Run a registry that has nothing in the network namespace of `engine`; give a name for the image in it."""
    if shutil.which("docker-registry") is None:
        raise RuntimeError("needs docker-registry")
    with tempfile.TemporaryDirectory(dir=material.archive().parent) as root, _registry(engine, Path(root)):
        yield NAME


@contextlib.contextmanager
def _registry(engine: Engine, root: Path) -> Iterator[None]:
    root.mkdir(parents=True, exist_ok=True)
    config = root / f"config-{os.getpid()}.yml"
    config.write_text(_CONFIG.format(root=root))
    process = subprocess.Popen(
        [*engine.netns, "docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        probe = [*engine.netns, "curl", "-sfo", "/dev/null", "http://127.0.0.1:5000/v2/"]
        deadline = time.monotonic() + 30
        while subprocess.run(probe).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("docker-registry does not start")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait()
        config.unlink()
