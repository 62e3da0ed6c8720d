"""Network namespaces for tests: a host, containers, a neighbour on the host's wire, and servers in them.

A socket belongs to the namespace of the thread that made it, so one process can be everywhere: `Namespace.entered`
moves the calling thread for a moment, and what is made meanwhile stays there.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orlop.linux import interfaces
from orlop.linux.namespace import CLONE_NEWNET, setns

REFUSAL = 0.7  # seconds of silence that are a refusal
PATIENCE = 10.0  # seconds for an answer that must come, on a busy machine
_numbers = itertools.count()


def why_not() -> str:
    """Say what is missing for these tests, "" if nothing is."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    return "" if shutil.which("ip") and shutil.which("nft") else "needs iproute2 and nftables"


class Namespace:
    """A network namespace with a name of its own."""

    def __init__(self, role: str) -> None:
        self.name = f"orlop-test-{os.getpid()}-{next(_numbers)}{role}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.fd = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        self.ip("link set lo up")

    def remove(self) -> None:
        os.close(self.fd)
        subprocess.run(["ip", "netns", "del", self.name], check=True)

    def ip(self, command: str, check: bool = True) -> str:
        words = ["ip", "-n", self.name, *command.split()]
        return subprocess.run(words, check=check, capture_output=True, text=True).stdout

    def run(self, *words: str) -> str:
        command = ["ip", "netns", "exec", self.name, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Have the calling thread in this namespace."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(self.fd, CLONE_NEWNET)
            yield
        finally:
            setns(before, CLONE_NEWNET)
            os.close(before)

    def sysctl(self, name: str, value: str | None = None) -> str:
        with self.entered():
            if value is not None:
                interfaces.write_sysctl(name, value)
            return interfaces.read_sysctl(name)

    def configure(self, config: dict[str, Any]) -> None:
        """Do inside what a shim does."""
        with self.entered():
            interfaces.configure(config)

    def ask(self, address: str, port: int, protocol: str = "tcp", patience: float = PATIENCE) -> str:
        """Return what a server at `address` says, "-" when there is no answer."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.entered():
            sock = socket.socket(family, socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM)
        end = time.monotonic() + patience
        with sock:
            sock.settimeout(REFUSAL if protocol == "udp" else patience)
            while True:
                try:
                    sock.connect((address, port))
                    sock.send(b"who?")
                    return sock.recv(99).decode() or "-"
                except OSError:
                    if protocol != "udp" or time.monotonic() > end - REFUSAL:
                        return "-"  # of datagrams one may be lost


class Servers:
    """Servers that say their name, by TCP and UDP, all in one thread; `heard` are those that got anything."""

    def __init__(self) -> None:
        self.heard: set[str] = set()
        self._selector = selectors.DefaultSelector()
        self._stop, self._stopped = socket.socketpair()
        self._selector.register(self._stopped, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def add(self, namespace: Namespace, name: str, address: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with namespace.entered():
                sock = socket.socket(family, kind)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port))
            if kind == socket.SOCK_STREAM:
                sock.listen(64)
            self._selector.register(sock, selectors.EVENT_READ, name.encode())

    def close(self) -> None:
        self._stop.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if key.data is None:
                    return
                self.heard.add(key.data.decode())
                with contextlib.suppress(OSError):
                    if sock.type == socket.SOCK_DGRAM:
                        sock.sendto(key.data, sock.recvfrom(99)[1])
                    else:
                        client = sock.accept()[0]
                        with client:
                            client.settimeout(REFUSAL)
                            client.recv(99)
                            client.sendall(key.data)


class Lab:
    """A host in a namespace of its own, in which the calling thread is from now on, and what is around it."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.namespaces: list[Namespace] = []
        self.servers = Servers()
        self._before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.host = self.add("H")
        setns(self.host.fd, CLONE_NEWNET)

    def add(self, role: str) -> Namespace:
        namespace = Namespace(role)
        self.namespaces.append(namespace)
        return namespace

    def neighbour(self) -> Namespace:
        """Return a machine on the host's wire: the host is 10.9.0.1 and fd09::1, the neighbour has the 2."""
        other = self.add("N")
        self.host.ip(f"link add wire type veth peer name eth0 netns {other.name}")
        for namespace, device, number in ((self.host, "wire", 1), (other, "eth0", 2)):
            namespace.ip(f"addr add 10.9.0.{number}/24 dev {device}")
            namespace.ip(f"addr add fd09::{number}/64 dev {device} nodad")
            namespace.ip(f"link set {device} up")
        other.ip("route add default via 10.9.0.1")
        other.ip("route add default via fd09::1")
        return other

    def bridge_netfilter(self, value: str) -> bool:
        """Say whether bridged packets could be made to pass the IP hooks (or not to)."""
        try:
            for name in ("iptables", "ip6tables"):
                self.host.sysctl(f"net/bridge/bridge-nf-call-{name}", value)
        except FileNotFoundError:
            return value == "0"
        return True

    def ruleset(self) -> str:
        return self.host.run("nft", "list", "ruleset")

    def close(self) -> None:
        setns(self._before, CLONE_NEWNET)
        os.close(self._before)
        self.servers.close()
        for namespace in self.namespaces:
            namespace.remove()
