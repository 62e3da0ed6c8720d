"""The host's forwarding switches, shared by all instances in one network namespace.

``ip_forward`` is one switch for everybody. Who turns it on writes that down in a file under ``/run``, which all
instances keep together under a lock; the last one out turns it off again, if it is still as we left it. While Orlop
turned it on, the host routes only what touches a bridge of ours (`orlop.network.rules.forward_guard`): it must not
become a router for its neighbours. A switch that was on before is nobody's business here.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orlop.linux.interfaces import SYSCTL, read_sysctl, write_sysctl
from orlop.network import rules

__all__ = ["Forwarding", "Record"]

log = logging.getLogger(__name__)

RUN = Path("/run")
SO_NETNS_COOKIE = 71
SWITCHES = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
# Forwarding hosts stop taking router advertisements, and lose the routes learnt from them, unless told to go on.
ROUTER_ADVERTISEMENTS = "net/ipv6/conf/{}/accept_ra"


@dataclass(slots=True)
class Record:
    """What the file says: the boot it is about, values from before by sysctl name, each instance's bridge."""

    boot_id: str = ""
    previous: dict[str, str] = field(default_factory=dict)
    instances: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, boot_id: str) -> Record:
        """Read a file; what is malformed or of another boot is no record."""
        try:
            content: Any = json.loads(text)
            record = cls(str(content["boot_id"]), dict(content["previous"]), dict(content["instances"]))
        except (ValueError, TypeError, KeyError):
            record = cls()
        return record if record.boot_id == boot_id else cls(boot_id)

    @property
    def versions(self) -> list[int]:
        """The IP versions whose forwarding Orlop turned on."""
        return [version for version, switch in SWITCHES.items() if switch in self.previous]


class Forwarding:
    """One instance's share. `apply` carries out an nftables transaction; used by the thread that owns that."""

    def __init__(self, instance: str, apply: Callable[[str], None], run: Path = RUN) -> None:
        self._instance = instance
        self._apply = apply
        self._path = run / f"orlop-ip-forward-{_namespace()}"

    def join(self, bridge: str, versions: list[int], is_alive: Callable[[str, str], bool]) -> None:
        """Turn forwarding of IP `versions` on where it is off, for the instance's `bridge`.

        `is_alive(instance, bridge)` says of another instance whether its bridge is still there. Raises OSError.
        """
        with self._locked() as record:
            record.instances = {name: at for name, at in record.instances.items() if is_alive(name, at)}
            record.instances[self._instance] = bridge
            for version in versions:
                switch = SWITCHES[version]
                if read_sysctl(switch) != "0":
                    continue
                if version == 6:
                    self._keep_advertisements(record)
                record.previous[switch] = "0"
                if record.versions:  # the guard stands before the door opens
                    self._guard(record)
                write_sysctl(switch, "1")
            if record.versions:
                self._guard(record)

    def leave(self) -> None:
        """Take the instance out; the last one restores what was before. Raises OSError."""
        with self._locked() as record:
            if record.instances.pop(self._instance, None) is None:
                return
            if record.instances:
                if record.versions:
                    self._guard(record)
                return
            for name, before in reversed(record.previous.items()):
                expected = "2" if name.endswith("accept_ra") else "1"
                with contextlib.suppress(FileNotFoundError):  # the interface is gone
                    if read_sysctl(name) == expected:
                        write_sysctl(name, before)
            if record.previous:
                self._apply(rules.delete_table(rules.FORWARD_TABLE))
            record.previous = {}

    def _keep_advertisements(self, record: Record) -> None:
        for directory in sorted((SYSCTL / "net/ipv6/conf").iterdir()):
            name = ROUTER_ADVERTISEMENTS.format(directory.name)
            if directory.name not in ("all", "default", "lo") and read_sysctl(name) == "1":
                record.previous.setdefault(name, "1")
                write_sysctl(name, "2")

    def _guard(self, record: Record) -> None:
        self._apply(rules.forward_guard(record.instances.values(), record.versions))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Record]:
        """Give the record; write it back, also after an error, or remove the file when nothing is to be remembered."""
        with _lock(self._path) as descriptor:
            text = os.pread(descriptor, 1 << 20, 0).decode(errors="replace")
            record = Record.parse(text, read_sysctl("kernel/random/boot_id"))
            try:
                yield record
            finally:
                if record.instances or record.previous:
                    content = json.dumps(asdict(record)).encode()
                    os.pwrite(descriptor, content, 0)
                    os.ftruncate(descriptor, len(content))
                else:
                    self._path.unlink()


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[int]:
    """Open and lock the file at `path`: the one that is still there once the lock is ours."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(descriptor, path):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _namespace() -> str:
    """Return what names the network namespace of this thread: its cookie, before Linux 5.14 its inode."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            return str(int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), "little"))
        except OSError:
            return f"i{Path('/proc/thread-self/ns/net').stat().st_ino}"
