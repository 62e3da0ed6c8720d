"""``ssh://`` endpoints: the daemon of another machine through a program there that joins its streams to the socket."""

from __future__ import annotations

import socket
import subprocess

from orlop.client.endpoint import Endpoint
from orlop.client.transport import CannotConnect, Channel

__all__ = ["connect_ssh", "ssh_command"]

# Whichever client the other machine has; both know the word.
_REMOTE = "if command -v orlop >/dev/null; then exec orlop system dial-stdio; else exec docker system dial-stdio; fi"


def ssh_command(address: str) -> list[str]:
    """Return the command line that reaches ``[user@]host[:port]``."""
    user, _, place = address.rpartition("@")
    host, separator, port = place.rpartition(":")
    if not separator or place.endswith("]"):
        host, port = place, ""
    command = ["ssh", "-o", "ConnectTimeout=30", "-T"]
    if user:
        command += ["-l", user]
    if port:
        command += ["-p", port]
    return [*command, "--", host.strip("[]"), _REMOTE]


class _Tunnel(socket.socket):
    """The socket that is ssh's standard input and output; what ssh has to say it writes to standard error itself."""

    def __init__(self, fileno: int, command: list[str], process: subprocess.Popen[bytes]) -> None:
        super().__init__(fileno=fileno)
        self._command = command
        self._process = process
        self._heard = False

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        try:
            data = super().recv(size, flags)
        except ConnectionResetError:  # ssh ended with our request unread
            data = b""
        if not data and not self._heard and (status := self._process.wait()):
            raise CannotConnect(
                f"error during connect: command [{' '.join(self._command)}] has exited with "
                f"{_ended(status)}, make sure the URL is valid, and Orlop, or Docker 18.09 or later, is installed on "
                "the remote host"
            )
        self._heard = True
        return data


def _ended(status: int) -> str:
    return f"exit status {status}" if status > 0 else f"signal {-status}"


def connect_ssh(endpoint: Endpoint) -> Channel:
    """Start ssh and return the socket that is its standard input and output; raise `CannotConnect` without ssh.

    ssh ends when the socket is closed; it is not waited for, since the client ends right after. When it ends before
    anything came from the other machine, the socket's reader gets `CannotConnect`.
    """
    ours, theirs = socket.socketpair()
    command = ssh_command(endpoint.address)
    try:
        process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=theirs.fileno())
    except FileNotFoundError:
        ours.close()
        raise CannotConnect(f"cannot connect to {endpoint.host}: the program ssh is not installed") from None
    finally:
        theirs.close()
    return _Tunnel(ours.detach(), command, process)
