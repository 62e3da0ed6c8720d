"""How an image's configuration and what a user asks become a container's configuration: pure functions.

What the user gives wins; lists of names (environment, ports, volumes, labels) are joined. The rules are those of
`docker run` (Engine API, `POST /containers/create`).
"""

from __future__ import annotations

import posixpath
from typing import Any

import msgspec

from orlop.errors import InvalidArgument
from orlop.model.api.container import ContainerConfig, ContainerCreate, HealthConfig

__all__ = ["command", "merge"]

Json = dict[str, Any]


def merge(body: ContainerCreate, image: Json) -> ContainerConfig:
    """Return the configuration of a container of `body`, with what the image configuration `image` adds.

    `image` is the ``config`` object of an OCI image configuration. Raises `InvalidArgument` when neither names a
    command.
    """
    asked = {name: getattr(body, name) for name in ContainerConfig.__struct_fields__}
    entrypoint, cmd = _words(body.entrypoint), _words(body.cmd)
    if not entrypoint:
        if not cmd:
            cmd = image.get("Cmd")
            asked["args_escaped"] = body.args_escaped or bool(image.get("ArgsEscaped"))
        if entrypoint is None:
            entrypoint = image.get("Entrypoint")
    if entrypoint == [""]:  # `--entrypoint ""` takes the image's away
        entrypoint = None
    if not entrypoint and not cmd:
        raise InvalidArgument("no command specified")
    asked.update(
        entrypoint=entrypoint,
        cmd=cmd,
        user=body.user or image.get("User") or "",
        env=_environment(body.env or [], image.get("Env") or []),
        working_dir=_cleaned(body.working_dir or image.get("WorkingDir") or ""),
        exposed_ports=_union(_ports(image.get("ExposedPorts")), _ports(body.exposed_ports)),
        volumes=_union(image.get("Volumes"), body.volumes),
        labels={**(image.get("Labels") or {}), **(body.labels or {})},
        stop_signal=body.stop_signal or image.get("StopSignal") or "",
        shell=body.shell or image.get("Shell"),
        on_build=body.on_build,
        healthcheck=_healthcheck(body.healthcheck, image.get("Healthcheck")),
    )
    return ContainerConfig(**asked)


def command(config: ContainerConfig) -> tuple[str, tuple[str, ...]]:
    """Return the program and its arguments."""
    words = [*(config.entrypoint or []), *(config.cmd or [])]
    return words[0], tuple(words[1:])


def _cleaned(path: str) -> str:
    return f"/{posixpath.normpath(path).lstrip('/')}" if path.startswith("/") else path


def _words(value: list[str] | str | None) -> list[str] | None:
    return [value] if isinstance(value, str) else value


def _environment(asked: list[str], image: list[str]) -> list[str]:
    names = {entry.partition("=")[0] for entry in asked}
    return [*asked, *(entry for entry in image if entry.partition("=")[0] not in names)]


def _ports(ports: dict[str, Any] | None) -> dict[str, Any] | None:
    """Every port with its protocol: ``80`` is ``80/tcp``."""
    return {key if "/" in key else f"{key}/tcp": {} for key in ports} if ports else None


def _union(first: dict[str, Any] | None, second: dict[str, Any] | None) -> dict[str, Any] | None:
    if first is None and second is None:
        return None
    return {key: value or {} for key, value in {**(first or {}), **(second or {})}.items()} or None


def _healthcheck(asked: HealthConfig | None, image: Json | None) -> HealthConfig | None:
    inherited = msgspec.convert(image, HealthConfig) if image else None
    if asked is None or inherited is None:
        return asked or inherited
    return HealthConfig(
        **{name: getattr(asked, name) or getattr(inherited, name) for name in HealthConfig.__struct_fields__}
    )
