"""Every error that Orlop raises on purpose: one tree, each type knows its HTTP status.

The message of an error is what a client reads, so it is dockerd's text wherever clients match on it. The API turns
an error into ``{"message": …}`` with `Error.status`; the command line prints ``Error response from daemon: …``.
"""

from __future__ import annotations

__all__ = [
    "Conflict",
    "Error",
    "Forbidden",
    "GatewayTimeout",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "NotImplementedYet",
    "NotModified",
    "StartFailed",
    "Unauthorized",
    "Unavailable",
]


class Error(Exception):
    """The root of the tree: something went wrong that a client is told about."""

    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class Internal(Error):
    """The engine failed at something that the client could not know of."""


class InvalidArgument(Error):
    """What was asked makes no sense: a malformed name, a wrong value, a contradiction."""

    status = 400


class Unauthorized(Error):
    """Credentials are missing or wrong."""

    status = 401


class Forbidden(Error):
    """The request is understood and refused."""

    status = 403


class NotFound(Error):
    """There is no such object."""

    status = 404


class Conflict(Error):
    """The object's present state does not allow what was asked."""

    status = 409


class NotModified(Error):
    """The object is already as asked; the answer has no body."""

    status = 304


class NotImplementedYet(Error):
    """A documented route or option that Orlop does not have."""

    status = 501


class Unavailable(Error):
    """A part that is needed for the answer is not there (no swarm, a full disk, a daemon that is going down)."""

    status = 503


class GatewayTimeout(Error):
    """A peer did not answer in time."""

    status = 504


class StartFailed(Error):
    """A process could not be started in a container.

    `exit_code` is what `docker run` ends with: 127 when the program was not found, 126 when it could not be
    executed, 128 for everything else. A missing or unexecutable program is the client's mistake: status 400.
    """

    def __init__(self, message: str, exit_code: int = 128) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.status = 400 if exit_code in (126, 127) else 500
