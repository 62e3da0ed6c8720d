"""Why a process could not be started, in the words of dockerd and runc, which clients match on."""

from __future__ import annotations

import errno as numbers
from typing import Any

from orlop.linux import errno

__all__ = ["FAILED", "CANNOT_EXECUTE", "NOT_FOUND", "StartError", "create_message", "exec_message"]

NOT_FOUND = 127
CANNOT_EXECUTE = 126
FAILED = 128

_CREATE = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: error during container init: "
)
_EXEC = "OCI runtime exec failed: exec failed: unable to start container process: "
_MISTAKEN_TYPE = (
    ": Are you trying to mount a directory onto a file (or vice-versa)? "
    "Check if the specified host path exists and is the expected type"
)


class StartError(Exception):
    """A step of a start failed. `plain` text is told as it stands, other text as the end of runc's sentence."""

    def __init__(self, stage: str, text: str, *, errno: int = 0, exit_code: int = FAILED, plain: bool = False) -> None:
        super().__init__(text)
        self.stage = stage
        self.text = text
        self.errno = errno
        self.exit_code = exit_code
        self.plain = plain

    @classmethod
    def from_os(cls, stage: str, what: str, error: OSError) -> StartError:
        """Return the failure of a system call: ``what: no such file or directory``, with dockerd's exit code for it."""
        number = error.errno or 0
        detail = error.strerror if number and error.strerror and "(" in error.strerror else errno.text(error)
        return cls(stage, f"{what}: {detail}", errno=number, exit_code=exit_code_of(number))

    def fields(self) -> dict[str, Any]:
        """Return it as the fields of a message."""
        return {
            "stage": self.stage,
            "text": self.text,
            "errno": self.errno,
            "exit_code": self.exit_code,
            "plain": self.plain,
        }

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> StartError:
        """Return what `fields` was made from."""
        return cls(
            fields["stage"],
            fields["text"],
            errno=fields["errno"],
            exit_code=fields["exit_code"],
            plain=fields["plain"],
        )


def exit_code_of(number: int) -> int:
    """Return the exit status by which dockerd tells an error apart."""
    if number in (numbers.ENOENT, numbers.ENOTDIR):
        return NOT_FOUND
    if number in (numbers.EACCES, numbers.EISDIR):
        return CANNOT_EXECUTE
    return FAILED


def create_message(error: StartError) -> str:
    """Return what a client reads when a container could not be started."""
    if error.plain:
        return error.text
    hint = _MISTAKEN_TYPE if error.errno == numbers.ENOTDIR and error.stage == "mount" else ""
    return f"{_CREATE}{error.text}: unknown{hint}"


def exec_message(error: StartError) -> str:
    """Return what a client reads when a further process could not be started."""
    return error.text if error.plain else f"{_EXEC}{error.text}: unknown"
