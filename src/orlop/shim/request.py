"""The ``start`` message, taken apart (see `orlop.formats.shim_wire` and `orlop.runtime.runtime.Launch`)."""

from __future__ import annotations

from base64 import b64decode
from typing import Any, NamedTuple

from orlop.formats.shim_wire import Message, WireError
from orlop.shim.client import AttachRequest

__all__ = ["StartRequest", "attach_request", "parse", "seccomp_program"]


class StartRequest(NamedTuple):
    """What to start. The descriptors are ours: the control socket, clients' and ports' sockets, mounts, outputs."""

    id: str
    spec: dict[str, Any]
    layers: dict[str, Any]
    run_dir: str
    log_directory: str | None
    log_max_bytes: int
    log_max_files: int
    tty: bool
    stdin: bool
    stdin_once: bool
    size: tuple[int, int]
    seccomp: bytes | None
    network: bool
    ctl: int
    attaches: tuple[tuple[AttachRequest, int], ...]
    ports: tuple[int, ...]
    mounts: tuple[int, ...]
    outputs: tuple[int, ...]
    tied: bool


def parse(message: Message, fds: list[int]) -> StartRequest:
    """Return the request. Raises `WireError` for a message that is none."""
    try:
        launch = message["launch"]
        attaches = launch.get("attaches") or []
        outputs = len(fds) - int(launch.get("outputs") or 0)  # where they begin
        mounts = outputs - int(launch.get("mounts") or 0)
        if mounts != 1 + len(attaches) + int(launch.get("ports") or 0):
            raise WireError(f"{len(fds)} descriptors with a start of {len(attaches)} clients")
        stdio, log = launch["stdio"], launch["log"]
        height, width = stdio.get("size") or (0, 0)
        return StartRequest(
            id=str(message["id"]),
            spec=launch["spec"],
            layers=launch["rootfs"],
            run_dir=launch["run_dir"],
            log_directory=log.get("directory"),
            log_max_bytes=int(log.get("max_bytes") or 0),
            log_max_files=int(log.get("max_files") or 1),
            tty=bool(stdio.get("tty")),
            stdin=bool(stdio.get("stdin")),
            stdin_once=bool(stdio.get("stdin_once")),
            size=(int(height), int(width)),
            seccomp=seccomp_program(launch),
            network=bool(launch.get("network")),
            ctl=fds[0],
            attaches=tuple(zip(map(attach_request, attaches), fds[1:], strict=False)),
            ports=tuple(fds[1 + len(attaches) : mounts]),
            mounts=tuple(fds[mounts:outputs]),
            outputs=tuple(fds[outputs:]),
            tied=bool(launch.get("tied")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WireError(f"a start message lacks something: {error!r}") from error


def attach_request(fields: dict[str, Any]) -> AttachRequest:
    """Return what a client asks for. Raises `KeyError`, `ValueError`."""
    return AttachRequest(fields, b64decode)


def seccomp_program(fields: dict[str, Any]) -> bytes | None:
    """Return the compiled program of a message, if it has one."""
    text = fields.get("seccomp")
    return b64decode(text) if text else None
