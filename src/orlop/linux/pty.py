"""Pseudo-terminals of a given devpts instance, by descriptor."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

__all__ = ["make_controlling", "open_master", "open_slave", "set_size"]

_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_SIZE = struct.Struct("HHHH")


def open_master(devpts_fd: int) -> int:
    """Return the master of a new, unlocked terminal of the devpts mount `devpts_fd`. Raises `OSError`."""
    master = os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=devpts_fd)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    return master


def open_slave(master: int) -> int:
    """Return the terminal's other end, found through the master and not through a name (ioctl_tty(2))."""
    slave: int = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    return slave


def make_controlling(slave: int) -> None:
    """Make the terminal the controlling one of the calling session leader. Raises `OSError`."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


def set_size(fd: int, height: int, width: int) -> None:
    """Set the window size in characters; the foreground process group gets SIGWINCH if it changed."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, _SIZE.pack(height, width, 0, 0))
