"""Bodies of the exec routes."""

from __future__ import annotations

from orlop.model.api.base import Body

__all__ = ["ExecCreate", "ExecStart"]


class ExecCreate(Body, frozen=True, kw_only=True):
    """The body of `POST /containers/{id}/exec`."""

    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    console_size: list[int] | None = None
    detach_keys: str = ""
    tty: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    privileged: bool = False
    user: str = ""
    working_dir: str = ""


class ExecStart(Body, frozen=True, kw_only=True):
    """The body of `POST /exec/{id}/start`."""

    detach: bool = False
    tty: bool = False
    console_size: list[int] | None = None
