"""`orlop` on a terminal: raw mode, sizes, detach keys, and the terminal as it was before on every way out."""

from __future__ import annotations

import base64
import queue
import select
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fake_container import ID, FakeContainer, read_all
from support.fake_engine import Answer, FakeEngine
from support.screen import Screen
from support.terminal import terminal


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


class Paced:
    """A streamed answer whose next piece is sent when the test says so."""

    def __init__(self, *messages: str) -> None:
        self._pieces = [f"{message}\r\n".encode() for message in messages]
        self._steps: queue.Queue[bool] = queue.Queue()
        self.left = threading.Event()

    def step(self) -> None:
        self._steps.put(True)

    def answer(self) -> Answer:
        return Answer(pieces=self._send)

    def _send(self) -> Iterator[bytes]:
        try:
            for piece in self._pieces:
                yield piece
                self._steps.get(timeout=20)
        finally:
            self.left.set()


DOWNLOADING = '{"status":"Downloading","progressDetail":{"current":500,"total":1000},"id":"abc"}'
LOADED = (
    '{"status":"Pulling fs layer","progressDetail":{},"id":"abc"}',
    DOWNLOADING,
    '{"status":"Pull complete","progressDetail":{},"id":"abc"}',
    '{"stream":"Loaded image: x\\n"}',
)
COMMANDS = [
    (["load", "-i", __file__], "/images/load"),
    (["pull", "busybox"], "/images/create"),
    (["push", "a/b:v1"], "/images/.*/push"),
]


@pytest.mark.parametrize(("words", "path"), COMMANDS)
def test_progress_is_redrawn_in_place(engine: FakeEngine, words: list[str], path: str) -> None:
    paced = Paced(*LOADED)
    engine.on("POST", path, paced.answer())
    screen = Screen(30, 100)
    with terminal(engine, *words) as opened:
        for wanted in (b"abc: Pulling fs layer", b"500B/1kB", b"abc: Pull complete", b"Loaded image: x"):
            screen.write(opened.read_until(wanted).decode())
            paced.step()
        assert opened.wait() == 0
        screen.write(opened.rest().decode())
    assert [line for line in screen.lines if "abc" in line] == ["abc: Pull complete"]
    assert "Loaded image: x" in screen.lines


def test_a_narrower_terminal_is_noticed(engine: FakeEngine) -> None:
    paced = Paced(DOWNLOADING, DOWNLOADING.replace("500", "600"))
    engine.on("POST", "/images/create", paced.answer())
    with terminal(engine, "pull", "busybox:1") as opened:
        assert b"[=====" in opened.read_until(b"500B/1kB")
        opened.resize(30, 40)
        paced.step()
        assert b"=" not in opened.read_until(b"600B/1kB").rpartition(b"\033[J")[2]
        paced.step()
        assert opened.wait() == 0


@pytest.mark.parametrize(("words", "path"), [*COMMANDS[1:], (["run", "busybox"], "/images/create")])
def test_an_interrupt_ends_it_at_once_with_the_cursor_below(engine: FakeEngine, words: list[str], path: str) -> None:
    engine.refuse("POST", "/containers/create", 404, "No such image: busybox:latest")
    paced = Paced(DOWNLOADING, *[DOWNLOADING] * 9)
    engine.on("POST", path, paced.answer())
    screen = Screen(30, 100)
    with terminal(engine, *words) as opened:
        screen.write(opened.read_until(b"500B/1kB").decode())
        opened.type(b"\x03")
        assert opened.wait() == 130
        assert opened.is_as_before()
        screen.write(opened.rest().decode() + "$ ")
    assert screen.lines[-1] == "$"
    assert screen.lines[-2].startswith("abc: Downloading")
    while not paced.left.is_set():
        paced.step()  # the daemon notices by what it cannot send any more
        paced.left.wait(0.01)


def test_an_error_comes_below_the_bars(engine: FakeEngine) -> None:
    paced = Paced(DOWNLOADING, '{"errorDetail":{"message":"no space left"},"error":"no space left"}')
    engine.on("POST", "/images/create", paced.answer())
    screen = Screen(30, 100)
    with terminal(engine, "pull", "busybox:1") as opened:
        screen.write(opened.read_until(b"500B/1kB").decode())
        paced.step()
        screen.write(opened.read_until(b"no space left").decode())
        assert opened.wait() == 1
    assert screen.lines[-1] == "no space left"
    assert len(screen.lines) == 2


@pytest.mark.parametrize("command", ["save", "export"])
def test_no_archive_is_written_to_a_terminal(engine: FakeEngine, command: str) -> None:
    with terminal(engine, command, "x") as opened:
        opened.read_until(b"cowardly refusing to save to a terminal")
        assert opened.wait() == 1


def test_a_password_is_asked_for_and_not_shown(engine: FakeEngine, tmp_path: Path) -> None:
    engine.on("POST", "/auth", Answer({"Status": "Login Succeeded"}))
    with terminal(engine, "login", "example.com", env={"DOCKER_CONFIG": str(tmp_path)}) as opened:
        opened.read_until(b"Username: ")
        opened.type(b"me\n")
        opened.read_until(b"Password: ")
        opened.type(b"s<cret\n")
        text = opened.read_until(b"Login Succeeded")
        assert opened.wait() == 0
        assert b"s<cret" not in text
        assert opened.is_as_before()
    (request,) = engine.asked("POST", "/auth")
    assert request.json == {"username": "me", "password": "s<cret", "serveraddress": "example.com"}


def test_a_known_name_is_offered(engine: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auths": {"https://index.docker.io/v1/": {"auth": "bWU6b2xk"}}}')
    engine.refuse("POST", "/auth", 401, "unauthorized: expired")
    with terminal(engine, "login", env={"DOCKER_CONFIG": str(tmp_path)}) as opened:
        opened.read_until(b"Stored credentials invalid or expired")
        opened.read_until(b"Username (me): ")
        engine.on("POST", "/auth", Answer({"Status": "Login Succeeded"}))
        opened.type(b"\n")
        opened.read_until(b"Password: ")
        opened.type(b"new\n")
        opened.read_until(b"Login Succeeded")
        assert opened.wait() == 0
    assert engine.asked("POST", "/auth")[-1].json["username"] == "me"


@pytest.mark.parametrize("keys", [b"\x03", b"\x04"])
def test_who_gives_no_password_gets_the_terminal_back(engine: FakeEngine, tmp_path: Path, keys: bytes) -> None:
    with terminal(engine, "login", "-u", "me", "x.com", env={"DOCKER_CONFIG": str(tmp_path)}) as opened:
        opened.read_until(b"Password: ")
        assert not opened.is_as_before()
        opened.type(keys)
        assert opened.wait() == (130 if keys == b"\x03" else 1)
        assert opened.is_as_before()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_prompt_gives_the_terminal_back(engine: FakeEngine, tmp_path: Path, number: int) -> None:
    with terminal(engine, "login", "-u", "me", "x.com", env={"DOCKER_CONFIG": str(tmp_path)}) as opened:
        opened.read_until(b"Password: ")
        opened.process.send_signal(number)
        assert opened.wait() == 128 + number
        assert opened.is_as_before()


def test_a_daemon_that_refuses_a_pull_may_be_asked_again_with_other_credentials(
    engine: FakeEngine, tmp_path: Path
) -> None:
    answers = iter([Answer({"message": "unauthorized"}, 401), Answer(LOADED[2].encode())])
    engine.on("POST", "/images/create", lambda _: next(answers))
    with terminal(engine, "pull", "x.com/a:1", env={"DOCKER_CONFIG": str(tmp_path)}) as opened:
        opened.read_until(b"Login prior to pull:")
        opened.read_until(b"Username: ")
        opened.type(b"me\n")
        opened.read_until(b"Password: ")
        opened.type(b"x\n")
        opened.read_until(b"abc: Pull complete")
        assert opened.wait() == 0
    header = engine.asked("POST", "/images/create")[-1].headers["x-registry-auth"]
    assert b'"username":"me"' in base64.urlsafe_b64decode(header)


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
