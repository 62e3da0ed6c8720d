"""`orlop` on a pseudo-terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from support.fake_engine import FakeEngine


class Terminal:
    """A client on a pseudo-terminal of its own."""

    def __init__(self, engine: FakeEngine, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(30, 100)
        self.before = termios.tcgetattr(self.slave)
        self._unread = b""
        # The client gets the terminal as its controlling one, so that the kernel tells it of new sizes.
        take = (
            "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from orlop.cli.main import main; main()"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", take, *arguments],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env={**os.environ, "DOCKER_HOST": f"unix://{engine.socket}", **(env or {})},
            start_new_session=True,
        )

    def resize(self, height: int, width: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def read_until(self, wanted: bytes) -> bytes:
        """Return what is written up to `wanted`."""
        while wanted not in self._unread:
            assert select.select([self.master], [], [], 20)[0], self._unread
            self._unread += os.read(self.master, 4096)
        end = self._unread.index(wanted) + len(wanted)
        data, self._unread = self._unread[:end], self._unread[end:]
        return data

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def is_as_before(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before

    def rest(self) -> bytes:
        """Return what was written and not read, after the client has ended."""
        while select.select([self.master], [], [], 0)[0]:
            self._unread += os.read(self.master, 4096)
        return self._unread

    def wait(self) -> int:
        return self.process.wait(20)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.slave)
        os.close(self.master)


@contextmanager
def terminal(engine: FakeEngine, *arguments: str, env: dict[str, str] | None = None) -> Iterator[Terminal]:
    opened = Terminal(engine, *arguments, env=env)
    try:
        yield opened
    finally:
        opened.close()
