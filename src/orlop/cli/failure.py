"""How a command of the client fails: what is printed and the exit status."""

from __future__ import annotations

from orlop.errors import Error

__all__ = ["CommandError", "FlagError", "daemon_message"]


class CommandError(Exception):
    """Ends the command: `message` goes to stderr (nothing when it is empty), `status` to the shell."""

    def __init__(self, message: str = "", status: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class FlagError(Exception):
    """The command line itself is wrong; the usage line is printed with it and the status is 125."""


def daemon_message(error: Error) -> str:
    """Return an error as docker prints it: what the daemon said is marked as such, what the client noticed is not."""
    from orlop.client.transport import CannotConnect

    if isinstance(error, CannotConnect) or type(error) is Error:
        return error.message
    return f"Error response from daemon: {error.message}"
