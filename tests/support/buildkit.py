"""BuildKit as a peer for tests: a buildkitd with a root of its own, in namespaces for network and mounts.

scripts/setup.sh builds it from the Go module proxy.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.netns import network_namespace

__all__ = ["BuildKit", "buildkit"]

_START_SECONDS = 60.0
_CONFIG = """\
root = "{root}/data"
[grpc]
address = ["unix://{root}/sock"]
[worker.containerd]
enabled = false
[worker.oci]
snapshotter = "overlayfs"
networkMode = "host"
defaultCgroupParent = "{group}"
"""


def _programs() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orlop/go"


class BuildKit:
    """A buildkitd that answers; what `add_base` adds are the images that a FROM finds."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._bases: dict[str, tuple[Path, str]] = {}

    def add_base(self, name: str, archive: Path) -> None:
        """Let an image, saved with an OCI layout inside, be the base `name`."""
        layout = self.root / f"base-{name}"
        with tarfile.open(archive) as tar:
            tar.extractall(layout, filter="data")
        digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
        self._bases[name] = (layout, digest)

    def build(
        self,
        context: Path,
        target: Path,
        options: Mapping[str, str] | None = None,
        contexts: Mapping[str, Path] | None = None,
    ) -> None:
        """Build the Dockerfile of `context` without a cache into an archive that `docker load` takes, named ``peer``.

        `options` are the frontend's (``target``, ``build-arg:NAME``), `contexts` named contexts.
        """
        command = [
            *(_programs() / "buildctl", "--addr", f"unix://{self.root}/sock", "build", "--frontend", "dockerfile.v0"),
            *("--local", f"context={context}", "--local", f"dockerfile={context}", "--progress=plain", "--no-cache"),
            *("--output", f"type=docker,name=peer,dest={target}"),
        ]
        for name, (layout, digest) in self._bases.items():
            command += ["--oci-layout", f"{name}={layout}", "--opt", f"context:{name}=oci-layout://{name}@{digest}"]
        for name, directory in (contexts or {}).items():
            command += ["--local", f"{name}={directory}", "--opt", f"context:{name}=local:{name}"]
        for key, value in (options or {}).items():
            command += ["--opt", f"{key}={value}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def buildkit() -> Iterator[BuildKit]:
    """Run a buildkitd; skip the test if it is not there."""
    program = _programs() / "buildkitd"
    if not program.exists() or shutil.which("runc") is None:
        pytest.skip("needs buildkitd (scripts/setup.sh test builds it where there is a Go compiler) and runc")
    with contextlib.ExitStack() as stack:
        netns = stack.enter_context(network_namespace())  # it also ends what is left in it
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ob-")))
        stack.callback(_remove_cgroups, root.name)
        config = root / "buildkitd.toml"
        config.write_text(_CONFIG.format(root=root, group=root.name))
        temporary = root / "tmp"
        temporary.mkdir()
        with open(root / "log", "wb") as log:
            # The mount namespace goes with its last process, and every mount with it.
            process = subprocess.Popen(
                netns.command("unshare", "--mount", program, "--config", config),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"TMPDIR": str(temporary)},
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + _START_SECONDS
            while b"running server" not in (root / "log").read_bytes():
                assert process.poll() is None, (root / "log").read_text()[-2000:]
                assert time.monotonic() < deadline, (root / "log").read_text()[-2000:]
                time.sleep(0.05)
            yield BuildKit(root)
        finally:
            process.terminate()
            process.wait(30)


def _remove_cgroups(name: str) -> None:
    """Remove what runc leaves of the cgroups of steps, in every hierarchy."""
    root = Path("/sys/fs/cgroup")
    for top in (*root.glob(name), *root.glob(f"*/{name}")):
        for directory in sorted((top, *(path for path in top.rglob("*") if path.is_dir())), reverse=True):
            with contextlib.suppress(OSError):
                directory.rmdir()
