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


def connect_ssh(endpoint: Endpoint) -> Channel:
    """Start ssh and return the socket that is its standard input and output; raise `CannotConnect` without ssh.

    ssh ends when the socket is closed; it is not waited for, since the client ends right after.
    """
    ours, theirs = socket.socketpair()
    try:
        subprocess.Popen(ssh_command(endpoint.address), stdin=theirs.fileno(), stdout=theirs.fileno())
    except FileNotFoundError:
        ours.close()
        raise CannotConnect(f"cannot connect to {endpoint.host}: the program ssh is not installed") from None
    finally:
        theirs.close()
    return ours
