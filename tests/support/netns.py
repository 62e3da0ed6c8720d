"""Network namespaces for tests, so that nothing of the host's network is touched."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NetworkNamespace", "network_namespace"]


@dataclass(frozen=True)
class NetworkNamespace:
    """A named network namespace with its loopback up; its mounts and processes are the host's."""

    name: str

    @property
    def path(self) -> str:
        return f"/run/netns/{self.name}"

    def command(self, *words: str | Path) -> list[str]:
        """Return the command that runs `words` in it. (`ip netns exec` would hide the cgroup mounts below /sys.)"""
        return ["nsenter", f"--net={self.path}", "--", *map(str, words)]

    def run(
        self, *words: str | Path, check: bool = True, timeout: float = 30, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in it and return what it wrote."""
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, check=check, timeout=timeout, input=input
        )

    def processes(self) -> list[int]:
        """Return the processes that are in it."""
        wanted = Path(self.path).stat()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    status = (entry / "ns/net").stat()
                    if (status.st_dev, status.st_ino) == (wanted.st_dev, wanted.st_ino):
                        found.append(int(entry.name))
        return found


@contextlib.contextmanager
def network_namespace() -> Iterator[NetworkNamespace]:
    """Make a network namespace; at the end what still runs in it is killed and it is removed."""
    namespace = NetworkNamespace(f"orlop-test-{secrets.token_hex(4)}")
    subprocess.run(["ip", "netns", "add", namespace.name], check=True, capture_output=True)
    try:
        subprocess.run(["ip", "-n", namespace.name, "link", "set", "lo", "up"], check=True, capture_output=True)
        yield namespace
    finally:
        for pid in namespace.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        subprocess.run(["ip", "netns", "delete", namespace.name], check=True, capture_output=True)
