"""Terminals: `docker run -it` and `orlop run -it` on a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import CompletedProcess

import pytest

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.usefixtures("image")]

Cli = Callable[..., CompletedProcess[str]]


class Terminal:
    """A program on a pseudo-terminal, typed at and read from."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(words[0], words, environment)
        self.seen = b""
        self.resize(24, 80)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)

    def expect(self, text: bytes, seconds: float = 20.0) -> None:
        """Read until `text` was seen; what came before it is forgotten."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, f"{text!r} did not come, but {self.seen[-500:]!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536)
                except OSError:
                    assert text in self.seen, f"the terminal closed before {text!r}: {self.seen[-500:]!r}"
        self.seen = self.seen[self.seen.index(text) + len(text) :]

    def status(self, seconds: float = 20.0) -> int:
        """Return the program's exit status, reading on so that it can end."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.fd, 65536)
                except OSError:
                    time.sleep(0.05)
        raise AssertionError(f"the program did not end: {self.seen[-500:]!r}")

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture(params=["docker", "orlop"])
def cli(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def on_terminal(cli: str, cli_command: Callable[[str], tuple[list[str], dict[str, str]]]) -> Callable[..., object]:
    @contextmanager
    def start(*words: str) -> Iterator[Terminal]:
        command, environment = cli_command(cli)
        terminal = Terminal([*command, *words], environment)
        try:
            yield terminal
        finally:
            terminal.close()

    return start


def test_a_shell_on_a_terminal_answers_and_ends_with_its_status(on_terminal: Callable[..., Terminal]) -> None:
    with on_terminal("run", "--rm", "-it", "busybox", "sh") as terminal:
        terminal.expect(b"# ")
        terminal.type(b"tty; echo $((40+2))\r")
        terminal.expect(b"/dev/pts/0")
        terminal.expect(b"42")
        terminal.type(b"exit 7\r")
        assert terminal.status() == 7


def test_the_size_of_the_terminal_is_known_inside_and_changes_with_it(on_terminal: Callable[..., Terminal]) -> None:
    with on_terminal("run", "--rm", "-it", "busybox", "sh") as terminal:
        terminal.expect(b"# ")
        terminal.type(b"stty size\r")
        terminal.expect(b"24 80")
        terminal.resize(50, 132)
        time.sleep(0.3)
        terminal.type(b"stty size\r")
        terminal.expect(b"50 132")
        terminal.type(b"exit\r")
        assert terminal.status() == 0


def test_ctrl_c_interrupts_what_runs_in_the_shell(on_terminal: Callable[..., Terminal]) -> None:
    with on_terminal("run", "--rm", "-it", "busybox", "sh") as terminal:
        terminal.expect(b"# ")
        terminal.type(b"sleep 1000\r")
        terminal.expect(b"sleep 1000")
        time.sleep(0.2)
        terminal.type(b"\x03")
        terminal.expect(b"# ")
        terminal.type(b"exit $?\r")
        assert terminal.status() == 130


def test_the_detach_keys_leave_the_container_running_and_attach_comes_back(
    on_terminal: Callable[..., Terminal], docker: Cli
) -> None:
    try:
        with on_terminal("run", "-it", "--name", "kept", "busybox", "sh") as terminal:
            terminal.expect(b"# ")
            terminal.type(b"\x10\x11")
            assert terminal.status() == 0
        assert docker("inspect", "--format", "{{.State.Running}}", "kept").stdout == "true\n"
        with on_terminal("attach", "kept") as terminal:
            time.sleep(0.3)
            terminal.type(b"echo back again\r")
            terminal.expect(b"\nback again")
            terminal.type(b"exit 5\r")
            assert terminal.status() == 5
    finally:
        docker("rm", "-f", "kept")


def test_exec_with_a_terminal(on_terminal: Callable[..., Terminal], docker: Cli) -> None:
    docker("run", "-d", "--name", "base", "busybox", "sleep", "1000")
    try:
        with on_terminal("exec", "-it", "base", "sh") as terminal:
            terminal.expect(b"# ")
            terminal.type(b"tty\r")
            terminal.expect(b"/dev/pts/")
            terminal.type(b"exit 9\r")
            assert terminal.status() == 9
    finally:
        docker("rm", "-f", "base")
