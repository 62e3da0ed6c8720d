"""`GET /version`: who answers. Clients decide by it what they may ask."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orlop

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["API_VERSION", "ARCHITECTURE", "DOCKER_VERSION", "MINIMUM_API_VERSION", "version"]

API_VERSION = "1.51"
MINIMUM_API_VERSION = "1.24"
DOCKER_VERSION = "28.3.3"
"""The Docker Engine that this API is the one of: some clients compare it, and none knows Orlop's own."""

_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm", "armv6l": "arm"}
ARCHITECTURE = _GO_NAMES.get(platform.machine(), platform.machine())
"""The machine's architecture, as Go and image manifests call it."""


async def version(engine: Engine) -> dict[str, Any]:
    """Return the versions of the API, of the engine and of what it stands on."""
    built = _build_time()
    kernel = engine.facts.kernel_version
    details = {
        "ApiVersion": API_VERSION,
        "Arch": ARCHITECTURE,
        "BuildTime": built,
        "Experimental": "false",
        "GitCommit": "orlop",
        "GoVersion": "none",
        "KernelVersion": kernel,
        "MinAPIVersion": MINIMUM_API_VERSION,
        "Os": "linux",
    }
    return {
        "Platform": {"Name": f"Orlop {orlop.__version__}"},
        "Components": [
            {"Name": "Engine", "Version": DOCKER_VERSION, "Details": details},
            {
                "Name": "Orlop",
                "Version": orlop.__version__,
                "Details": {"Instance": engine.instance, "Python": platform.python_version()},
            },
        ],
        "Version": DOCKER_VERSION,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MINIMUM_API_VERSION,
        "GitCommit": "orlop",
        "GoVersion": "none",
        "Os": "linux",
        "Arch": ARCHITECTURE,
        "KernelVersion": kernel,
        "BuildTime": built,
    }


def _build_time() -> str:
    """Return when this Orlop was put where it is: the time of its first file."""
    modified = Path(orlop.__file__).stat().st_mtime
    return datetime.fromtimestamp(int(modified), UTC).isoformat()
