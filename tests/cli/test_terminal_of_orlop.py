"""`orlop` on a terminal: raw mode, sizes, detach keys, and the terminal as it was before on every way out."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.fake_container import ID, FakeContainer, read_all
from support.fake_engine import Answer, FakeEngine


class Terminal:
    """A client on a pseudo-terminal of its own."""

    def __init__(self, engine: FakeEngine, *arguments: str) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(30, 100)
        self.before = termios.tcgetattr(self.slave)
        # The client gets the terminal as its controlling one, so that the kernel tells it of new sizes.
        take = (
            "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from orlop.cli.main import main; main()"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", take, *arguments],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env={**os.environ, "DOCKER_HOST": f"unix://{engine.socket}"},
            start_new_session=True,
        )

    def resize(self, height: int, width: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def read_until(self, wanted: bytes) -> bytes:
        data = b""
        while wanted not in data:
            assert select.select([self.master], [], [], 20)[0], data
            data += os.read(self.master, 4096)
        return data

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def is_as_before(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before

    def wait(self) -> int:
        return self.process.wait(20)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.slave)
        os.close(self.master)


@contextmanager
def terminal(engine: FakeEngine, *arguments: str) -> Iterator[Terminal]:
    opened = Terminal(engine, *arguments)
    try:
        yield opened
    finally:
        opened.close()


def shell(connection: socket.socket) -> int:
    """Answer each line in capitals; end at "exit"."""
    connection.sendall(b"# ")
    while data := connection.recv(4096):
        connection.sendall(data.upper() + b"\r\n")
        if b"exit" in data:
            return 5
    return 0


@pytest.mark.parametrize("line", ["run -it busybox sh", "exec -it web sh", "start -ai web"])
def test_keys_go_to_the_container_and_the_terminal_comes_back(engine: FakeEngine, line: str) -> None:
    FakeContainer(engine, shell, tty=True, running="exec" in line)
    with terminal(engine, *line.split()) as opened:
        opened.read_until(b"# ")
        assert opened.is_raw()
        opened.type(b"\x03hello")
        assert b"HELLO" in opened.read_until(b"HELLO")
        opened.type(b"exit")
        opened.read_until(b"EXIT")
        assert opened.wait() == 5
        assert opened.is_as_before()


@pytest.mark.parametrize(
    ("line", "message", "status"),
    [
        ("run -it busybox sh", b"", 0),
        ("attach web", b"read escape sequence", 1),
        ("exec -it web sh", b"read escape sequence", 1),
    ],
)
@pytest.mark.parametrize(("keys", "typed"), [([], b"\x10\x11"), (["--detach-keys", "ctrl-a,x"], b"\x01x")])
def test_detach_keys_leave_the_container_running(
    engine: FakeEngine, line: str, message: bytes, status: int, keys: list[str], typed: bytes
) -> None:
    container = FakeContainer(engine, lambda connection: len(read_all(connection)), tty=True, running="run" not in line)
    command, *rest = line.split()
    with terminal(engine, command, *keys, *rest) as opened:
        while not opened.is_raw():
            select.select([], [], [], 0.01)
        opened.type(b"ab" + typed)
        if message:
            opened.read_until(message)
        assert opened.wait() == status
        assert opened.is_as_before()
    assert container.signals == []


def test_the_size_is_told_at_the_start_and_when_it_changes(engine: FakeEngine) -> None:
    container = FakeContainer(engine, shell, tty=True)
    refused = iter(range(2))

    def not_yet(request: object) -> Answer:
        if next(refused, None) is not None:
            return Answer({"message": "not running"}, 409)
        container.sizes.append((request.query["h"][0], request.query["w"][0]))  # type: ignore[attr-defined]
        return Answer()

    engine.on("POST", "/containers/.*/resize", not_yet)
    with terminal(engine, "run", "-it", "busybox") as opened:
        opened.read_until(b"# ")
        while not container.sizes:
            select.select([], [], [], 0.01)
        opened.resize(50, 120)
        while container.sizes[-1] != ("50", "120"):
            select.select([], [], [], 0.01)
        opened.type(b"exit")
        assert opened.wait() == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_client_does_not_leave_the_terminal_raw(engine: FakeEngine, number: int) -> None:
    FakeContainer(engine, shell, tty=True, running=True)
    with terminal(engine, "exec", "-it", "web", "sh") as opened:
        opened.read_until(b"# ")
        assert opened.is_raw()
        opened.process.send_signal(number)
        assert opened.wait() == 128 + number
        assert opened.is_as_before()


def test_a_daemon_that_goes_away_does_not_leave_the_terminal_raw(engine: FakeEngine) -> None:
    def vanish(connection: socket.socket) -> int:
        connection.sendall(b"# ")
        connection.recv(1)
        return 0

    FakeContainer(engine, vanish, tty=True, running=True)
    engine.refuse("GET", "/exec/e1/json", 500, "lost")
    with terminal(engine, "exec", "-it", "web", "sh") as opened:
        opened.read_until(b"# ")
        opened.type(b"x")
        opened.read_until(b"lost")
        assert opened.wait() == 1
        assert opened.is_as_before()


def test_progress_is_redrawn_in_place(engine: FakeEngine) -> None:
    lines = (
        b'{"status":"Pulling fs layer","progressDetail":{},"id":"abc"}\r\n'
        b'{"status":"Downloading","progressDetail":{"current":500,"total":1000},"id":"abc"}\r\n'
        b'{"status":"Pull complete","progressDetail":{},"id":"abc"}\r\n'
        b'{"stream":"Loaded image: x\\n"}\r\n'
    )
    engine.on("POST", "/images/load", Answer(lines))
    with terminal(engine, "load", "-i", __file__) as opened:
        text = opened.read_until(b"Loaded image: x")
        assert b"abc: Downloading" in text
        assert b"500B/1kB" in text
        assert opened.wait() == 0


def test_a_daemon_that_restarts_does_not_cost_the_exit_status(engine: FakeEngine) -> None:
    container = FakeContainer(engine, shell, tty=True)
    # The first answer breaks off in its head, as when the daemon is killed.
    engine.on("POST", f"/containers/{ID}/wait", Answer(later=lambda: b"", breaks=True))
    with terminal(engine, "run", "-it", "busybox") as opened:
        opened.read_until(b"# ")
        opened.type(b"still here")
        opened.read_until(b"STILL HERE")
        engine.on("POST", f"/containers/{ID}/wait", lambda _: Answer({"StatusCode": 7}))
        opened.type(b"exit")
        assert opened.wait() == 7
    assert [request.query for request in engine.asked("POST", ".*/wait")] == [{"condition": ["next-exit"]}, {}]
    assert container.signals == []
