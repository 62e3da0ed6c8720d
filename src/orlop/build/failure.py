"""How a build fails: at which step, and why."""

from __future__ import annotations

from orlop.build.graph import Step
from orlop.build.worker import ExecFailed
from orlop.errors import Error

__all__ = ["BuildFailed"]


class BuildFailed(Error):
    """A step failed. `code` is the exit code of its command, 0 if it was something else; `kept` names the file system
    that was kept of it, "" for none.
    """

    def __init__(
        self,
        message: str,
        step: Step | None,
        *,
        status: int = 500,
        code: int = 0,
        oom_killed: bool = False,
        kept: str = "",
    ) -> None:
        super().__init__(message)
        self.step = step
        self.status = status
        self.code = code
        self.oom_killed = oom_killed
        self.kept = kept

    @classmethod
    def of_command(cls, words: tuple[str, ...], step: Step | None, error: ExecFailed) -> BuildFailed:
        """Return the failure of a command, in dockerd's words."""
        message = f"The command '{' '.join(words)}' returned a non-zero code: {error.code}"
        if error.oom_killed:
            message += " (it was out of memory)"
        return cls(message, step, code=error.code, oom_killed=error.oom_killed, kept=error.kept)

    @classmethod
    def of_error(cls, error: Error, step: Step | None) -> BuildFailed:
        """Return the failure of a step for any other reason."""
        return cls(error.message, step, status=error.status)
