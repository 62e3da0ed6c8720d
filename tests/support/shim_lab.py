"""A bench for launcher and shim without a daemon: one launcher, busybox trees, blocking conversations."""

from __future__ import annotations

import base64
import json
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from orlop.formats.shim_wire import Decoder, Message, encode
from orlop.formats.stream import Parser
from orlop.linux import descriptors

BUSYBOX = Path("/bin/busybox")
TIMEOUT = 20.0
Json = dict[str, Any]

STANDARD_MOUNTS: list[Json] = [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {
        "destination": "/dev",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {
        "destination": "/dev/shm",
        "type": "tmpfs",
        "source": "shm",
        "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    },
]
NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")


def make_tree(directory: Path) -> Path:
    """Make a small root file system: busybox, users and groups."""
    for name in ("bin", "etc", "tmp", "root", "proc", "sys", "dev"):
        (directory / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, directory / "bin/busybox")
    names = "sh cat echo true false sleep id ls env stat readlink tty stty seq dd head wc ps kill hostname mount pwd"
    for name in [*names.split(), "test", "touch", "mkdir", "grep", "sync", "yes", "tr", "chmod", "ulimit", "sysctl"]:
        (directory / "bin" / name).symlink_to("busybox")
    (directory / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nworker:x:1000:1001::/home/worker:/bin/sh\n")
    (directory / "etc/group").write_text("root:x:0:\nwheel:x:10:root,worker\nworker:x:1001:\naudio:x:29:\n")
    return directory


def process(*args: str, **fields: Any) -> Json:
    """Return an OCI process."""
    env = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    return {"args": list(args), "env": env, "cwd": "/", "user": {"username": ""}, **fields}


def specification(*args: str, namespaces: tuple[str, ...] = NAMESPACES, **process_fields: Any) -> Json:
    """Return an OCI specification with the standard mounts."""
    return {
        "process": process(*args, **process_fields),
        "root": {"readonly": False},
        "hostname": "box",
        "mounts": [dict(entry) for entry in STANDARD_MOUNTS],
        "linux": {"namespaces": [{"type": kind} for kind in namespaces]},
    }


class Peer:
    """A blocking conversation with a shim."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.log: list[Message] = []
        self.fds: list[int] = []
        self._decoder = Decoder()
        self._queue: list[Message] = []
        self._seq = 0

    def send(self, kind: str, *fds: int, **fields: Any) -> None:
        data = encode({"type": kind, **fields}, len(fds))
        sent = descriptors.send(self.sock, data, fds)
        self.sock.sendall(data[sent:])

    def request(self, kind: str, *fds: int, **fields: Any) -> Message:
        """Ask and return the answer."""
        self._seq += 1
        self.send(kind, *fds, seq=self._seq, **fields)
        return self.wait("answer", seq=self._seq)

    def wait(self, *kinds: str, **fields: Any) -> Message:
        """Return the next message of one of these types with these fields; others are kept."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            for message in self._queue:
                if message["type"] in kinds and all(message.get(name) == value for name, value in fields.items()):
                    self._queue.remove(message)
                    return message
            assert self._read(deadline), f"no {kinds} came, only {self.log}"

    def at_end(self) -> bool:
        """Read to the end of the conversation."""
        while self._read(time.monotonic() + TIMEOUT):
            pass
        return True

    def _read(self, deadline: float) -> bool:
        if not select.select([self.sock], [], [], max(0, deadline - time.monotonic()))[0]:
            raise AssertionError(f"nothing came in time, only {self.log}")
        try:
            data, fds = descriptors.recv(self.sock, 65536)
        except ConnectionResetError:
            return False
        if not data:
            return False
        for message, message_fds in self._decoder.feed(data, fds):
            self.log.append(message)
            self._queue.append(message)
            self.fds += message_fds
        return True

    def close(self) -> None:
        descriptors.close_all(self.fds)
        self.fds = []
        self.sock.close()


class Attached:
    """The client's end of an attached socket."""

    def __init__(self, **fields: Any) -> None:
        self.id = uuid.uuid4().hex
        self.sock, self.theirs = socket.socketpair()
        self.sock.settimeout(TIMEOUT)
        keys = fields.pop("detach_keys", b"\x10\x11")
        tail = fields.pop("tail", b"")
        self.framed = fields.setdefault("framed", True)
        wanted = {"stdin": False, "stdout": True, "stderr": True, "logs": False, "stream": True}
        self.fields = {
            "attach_id": self.id,
            **wanted,
            **fields,
            "detach_keys": base64.b64encode(keys).decode(),
            "tail": base64.b64encode(tail).decode(),
        }

    def hand_over(self) -> None:
        self.theirs.close()

    def read_all(self) -> dict[int, bytes]:
        """Read to the end; return the bytes of each stream."""
        return self.split(b"".join(iter(lambda: self.sock.recv(65536), b"")))

    def read_until(self, text: bytes) -> bytes:
        """Read raw bytes until `text` is among them."""
        data = b""
        while text not in data:
            piece = self.sock.recv(65536)
            assert piece, f"the end came before {text!r}: {data!r}"
            data += piece
        return data

    def split(self, data: bytes) -> dict[int, bytes]:
        pieces: dict[int, list[bytes]] = {}
        for stream, piece in Parser().feed(data) if self.framed else [(1, data)]:
            pieces.setdefault(stream, []).append(piece)
        return {stream: b"".join(parts) for stream, parts in pieces.items()}

    def close(self) -> None:
        self.sock.close()


class Running:
    """A container that a test asked for."""

    def __init__(self, lab: Lab, container_id: str, ctl: Peer, directory: Path) -> None:
        self.lab = lab
        self.id = container_id
        self.ctl = ctl
        self.directory = directory
        self.run_dir = directory / "run"
        self.pid = 0
        self.shim_pid = 0

    def await_start(self) -> Message:
        """Wait until it runs, or has failed."""
        message = self.ctl.wait("started", "failed")
        self.shim_pid = next((entry["shim_pid"] for entry in self.ctl.log if entry["type"] == "hello"), 0)
        self.pid = int(message.get("pid") or 0)
        return message

    def await_exit(self) -> Message:
        return self.ctl.wait("exited")

    def attach(self, **fields: Any) -> Attached:
        attached = Attached(**fields)
        answer = self.ctl.request("attach", attached.theirs.fileno(), **attached.fields)
        attached.hand_over()
        assert answer["ok"], answer
        return attached

    def exec(
        self,
        *args: str,
        attach: Attached | None = None,
        tty: bool = False,
        seccomp: bytes | None = None,
        **fields: Any,
    ) -> Message:
        """Start a further process; return the answer."""
        fds = (attach.theirs.fileno(),) if attach else ()
        stdio = {"tty": tty, "stdin": bool(attach and attach.fields["stdin"]), "stdin_once": True, "size": [0, 0]}
        message = {
            "process": process(*args, **fields),
            "seccomp": base64.b64encode(seccomp).decode() if seccomp else None,
            **stdio,
        }
        exec_id = uuid.uuid4().hex
        answer = self.ctl.request("exec", *fds, exec_id=exec_id, attach=attach.fields if attach else None, **message)
        if attach:
            attach.hand_over()
        return {"exec_id": exec_id, **answer}

    def run(self, *args: str, **fields: Any) -> tuple[int, str]:
        """Exec to the end; return exit code and output."""
        attached = Attached()
        answer = self.exec(*args, attach=attached, **fields)
        output = attached.read_all()
        attached.close()
        assert answer["ok"], answer
        code = self.ctl.wait("exec_exited", exec_id=answer["exec_id"])["exit_code"]
        return code, (output.get(1, b"") + output.get(2, b"")).decode()

    def signal(self, number: int) -> Message:
        return self.ctl.request("signal", signal=number)

    def connect(self) -> Peer:
        """Open a further conversation by the shim's socket."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(str(self.run_dir / "shim.sock"))
        peer = Peer(sock)
        self.lab.peers.append(peer)
        return peer

    @property
    def exit_file(self) -> Json:
        return dict(json.loads((self.run_dir / "exit.json").read_text()))

    def journal(self) -> bytes:
        """Return the payloads of the journal."""
        from orlop.formats.journal import records

        files = sorted((self.directory / "log").glob("journal*"), key=lambda path: -int(path.suffix[1:] or 0))
        return b"".join(bytes(record.payload) for file in files for record in records(memoryview(file.read_bytes())))

    def gone(self) -> bool:
        """Wait until the shim has ended."""
        return eventually(lambda: _has_ended(self.shim_pid))


class Lab:
    """A launcher and the containers that it started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tree = make_tree(directory / "tree")
        self.peers: list[Peer] = []
        self.containers: list[Running] = []
        self.start_launcher()

    def start_launcher(self) -> None:
        self.sock, theirs = socket.socketpair()
        self.launcher = subprocess.Popen(
            [sys.executable, "-I", "-m", "orlop.shim.launcher", str(theirs.fileno())], pass_fds=(theirs.fileno(),)
        )
        theirs.close()

    def stop_launcher(self) -> None:
        self.sock.close()
        self.launcher.wait(TIMEOUT)

    def start(
        self,
        spec: Json,
        *,
        again: Running | None = None,
        attaches: tuple[Attached, ...] = (),
        ports: tuple[int, ...] = (),
        network: bool = False,
        seccomp: bytes | None = None,
        log: Json | None = None,
        lower: list[str] | None = None,
        **stdio: Any,
    ) -> Running:
        """Ask for a container (or once more for `again`)."""
        container_id = again.id if again else uuid.uuid4().hex * 2
        directory = again.directory if again else self.directory / container_id[:12]
        for name in ("upper", "work"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        launch = {
            "spec": spec,
            "rootfs": {
                "lower": lower or [str(self.tree)],
                "upper": str(directory / "upper"),
                "work": str(directory / "work"),
            },
            "run_dir": str(directory / "run"),
            "log": {"directory": str(directory / "log"), "max_bytes": 20 << 20, "max_files": 5, **(log or {})},
            "stdio": {"tty": False, "stdin": False, "stdin_once": False, "size": [0, 0], **stdio},
            "seccomp": base64.b64encode(seccomp).decode() if seccomp else None,
            "network": network,
            "attaches": [attached.fields for attached in attaches],
            "ports": len(ports),
        }
        fds = (theirs.fileno(), *(attached.theirs.fileno() for attached in attaches), *ports)
        data = encode({"type": "start", "id": container_id, "launch": launch}, len(fds))
        sent = descriptors.send(self.sock, data, fds)
        self.sock.sendall(data[sent:])
        theirs.close()
        for attached in attaches:
            attached.hand_over()
        running = Running(self, container_id, Peer(ours), directory)
        self.peers.append(running.ctl)
        self.containers.append(running)
        return running

    def run(self, spec: Json, **options: Any) -> tuple[int, str]:
        """Run a container to its end; return exit code and output (of a failure: its message)."""
        attached = Attached()
        running = self.start(spec, attaches=(attached,), **options)
        outcome = running.await_start()
        output = attached.read_all()
        attached.close()
        code = outcome["exit_code"] if outcome["type"] == "failed" else running.await_exit()["exit_code"]
        assert running.gone()
        running.ctl.close()
        self.peers.remove(running.ctl)
        self.containers.remove(running)
        if outcome["type"] == "failed":
            return code, outcome["message"]
        return code, (output.get(1, b"") + output.get(2, b"")).decode()

    def close(self) -> None:
        """End everything that is left."""
        for running in self.containers:
            if running.pid and Path(f"/proc/{running.pid}/ns").exists():
                with suppress(OSError):
                    running.ctl.send("signal", signal=signal.SIGKILL)
            if running.shim_pid:
                assert running.gone()
        for peer in self.peers:
            peer.close()
        self.stop_launcher()


def eventually(condition: Any, seconds: float = TIMEOUT) -> bool:
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter when it ends between open and read
        return True
