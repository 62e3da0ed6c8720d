"""A runtime with real shims for tests: a busybox tree, a listener that notes what it hears, a look at what is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
from pathlib import Path
from typing import Any

import msgspec

from orlop.linux import cgroup, proc
from orlop.model.api.container import ContainerConfig, HostConfig
from orlop.model.record import ContainerRecord, Rootfs
from orlop.runtime import security
from orlop.runtime.facts import read_facts
from orlop.runtime.logs import LogQuery, read_logs
from orlop.runtime.native import NativeRuntime
from orlop.runtime.runtime import Attach, Exit, Launch, LogTarget, Stdio
from orlop.runtime.spec import SpecContext, build_spec
from orlop.runtime.task import NativeTask

BUSYBOX = Path("/bin/busybox")


class Listener:
    """Notes what it is told; connects nothing."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self.hold: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def connect_network(self, container_id: str, netns_fd: int) -> dict[str, Any]:
        assert os.readlink(f"/proc/self/fd/{netns_fd}").startswith("net:")
        self.asked.set()
        if self.hold is not None:
            await self.hold.wait()
        return {"interfaces": [], "sysctls": {}}

    def attached(self, container_id: str, attach_id: str) -> None:
        self.told.append(("attached", attach_id))

    def detached(self, container_id: str, attach_id: str) -> None:
        self.told.append(("detached", attach_id))

    def exec_exited(self, container_id: str, exec_id: str, exit: Exit) -> None:
        self.told.append(("exec_exited", exec_id, str(exit.code)))

    def oom(self, container_id: str) -> None:
        self.told.append(("oom", container_id))

    def exited(self, container_id: str, exit: Exit) -> None:
        self.told.append(("exited", container_id))


class Lab:
    """One exec root, one data root, one cgroup parent; any number of runtimes, one after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = f"orlop-test-{secrets.token_hex(4)}"
        self.listener = Listener()
        self.facts = read_facts()
        self.runtime: NativeRuntime
        self.ids: list[str] = []
        self.image = root / "image"
        (self.image / "bin").mkdir(parents=True)
        shutil.copy(BUSYBOX, self.image / "bin/busybox")
        for applet in ("sh", "cat", "echo", "sleep", "true", "kill", "stty", "seq", "head", "ls"):
            (self.image / "bin" / applet).symlink_to("busybox")
        for directory in ("dev", "proc", "sys", "etc", "tmp", "run"):
            (self.image / directory).mkdir()
        (self.image / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")

    async def open(self) -> NativeRuntime:
        self.runtime = NativeRuntime(self.root, self.listener, self.kill_rest)
        await self.runtime.open()
        return self.runtime

    def cgroup(self, container_id: str) -> str:
        return f"/{self.name}/{container_id}"

    def kill_rest(self, container_id: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            cgroup.open_cgroup(self.cgroup(container_id)).kill()

    def launch(self, *command: str, container_id: str = "", network: bool = False, **fields: Any) -> Launch:
        """Plan a container that runs `command`."""
        container_id = container_id or secrets.token_hex(32)
        tty, attaches, user = fields.pop("tty", False), fields.pop("attaches", ()), fields.pop("user", "")
        stdin, once = fields.pop("stdin", False), fields.pop("stdin_once", False)
        host = HostConfig(network_mode="bridge" if network else "none", **fields)
        record = ContainerRecord(
            id=container_id,
            name=container_id[:12],
            created_at=1,
            image_id="sha256:0",
            config=ContainerConfig(tty=tty, user=user, hostname=container_id[:12]),
            host_config=host,
            path=command[0],
            args=tuple(command[1:]),
        )
        context = SpecContext(facts=self.facts, cgroup_path=self.cgroup(container_id))
        spec = build_spec(record, context)
        data = self.root / "containers" / container_id
        for directory in ("upper", "work", "log"):
            (data / directory).mkdir(parents=True, exist_ok=True)
        if container_id not in self.ids:
            self.ids.append(container_id)
        profile = spec["linux"].get("seccomp")
        return Launch(
            id=container_id,
            spec=msgspec.to_builtins(spec),
            rootfs=Rootfs(lower=(str(self.image),), upper=str(data / "upper"), work=str(data / "work")),
            run_dir=self.run_dir(container_id),
            log=LogTarget(str(data / "log")),
            stdio=Stdio(tty=tty, stdin=stdin, stdin_once=once, size=(24, 80) if tty else (0, 0)),
            seccomp=security.compiled(profile) if profile else None,
            network=network,
            attaches=attaches,
        )

    def run_dir(self, container_id: str) -> str:
        return str(self.root / "c" / container_id[:12])

    async def run(self, *command: str, **fields: Any) -> tuple[Exit, bytes]:
        """Run a container to its end; return how it ended and what it wrote (both streams)."""
        launch = self.launch(*command, **fields)
        task = await self.runtime.launch(launch)
        exit = await task.exited
        return exit, await self.output(launch.id)

    async def output(self, container_id: str) -> bytes:
        directory = str(self.root / "containers" / container_id / "log")
        return b"".join([block async for block in read_logs(directory, LogQuery(), True)])

    async def wait_output(self, task: NativeTask, *words: bytes) -> bytes:
        """Follow the log until it holds all `words`."""
        directory, seen = str(self.root / "containers" / task.id / "log"), b""
        async with contextlib.aclosing(read_logs(directory, LogQuery(follow=True), True, task.exited)) as blocks:
            async for block in blocks:
                seen += block
                if all(word in seen for word in words):
                    return seen
        raise AssertionError(f"{words!r} not in {seen!r}")

    async def hear(self, *words: str) -> None:
        """Wait until the listener was told `words`."""
        while words not in self.listener.told:  # noqa: ASYNC110 a list
            await asyncio.sleep(0.01)

    def processes(self) -> list[int]:
        """Return every living process in the lab's cgroups."""
        found = []
        for container_id in self.ids:
            with contextlib.suppress(FileNotFoundError):
                found += cgroup.open_cgroup(self.cgroup(container_id)).processes()
        return found

    async def close(self) -> None:
        """End everything; assert that no process, mount or cgroup is left."""
        await self.runtime.close()
        for container_id in self.ids:
            self.kill_rest(container_id)
        for _ in range(200):
            if not self.processes() and not self.shims():
                break
            await asyncio.sleep(0.02)
        assert not self.processes()
        assert not self.shims()
        for container_id in self.ids:
            cgroup.open_cgroup(self.cgroup(container_id)).remove()
        cgroup.open_cgroup(f"/{self.name}").remove()
        assert str(self.root) not in Path("/proc/self/mountinfo").read_text()

    def shims(self) -> list[int]:
        """Return the shims that hold a socket or a lock in the lab's exec root."""
        found = []
        for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdecimal()):
            if pid == os.getpid():
                continue
            with contextlib.suppress(OSError):
                held = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
                if any(path.startswith(f"{self.root}/c/") for path in held) and proc.stat(pid).state != "Z":
                    found.append(pid)
        return found


def attach_pair(attach_id: str, **wanted: Any) -> tuple[socket.socket, Attach]:
    """Return a client's socket and the attach of its other end."""
    ours, theirs = socket.socketpair()
    fields = {"stdin": True, "stdout": True, "stderr": True, "framed": False, **wanted}
    return ours, Attach(attach_id, theirs.detach(), **fields)


async def read_all(sock: socket.socket) -> bytes:
    """Read until the end."""
    sock.setblocking(False)
    loop, data = asyncio.get_running_loop(), b""
    while block := await loop.sock_recv(sock, 65536):
        data += block
    sock.close()
    return data


async def read_until(sock: socket.socket, word: bytes) -> bytes:
    """Read until `word` has come."""
    sock.setblocking(False)
    loop, data = asyncio.get_running_loop(), b""
    while word not in data:
        block = await loop.sock_recv(sock, 65536)
        assert block, data
        data += block
    return data
