"""From a container's record to the OCI specification that its shim gets: what the engine knows is gathered here."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from orlop.engine.containers import networking
from orlop.engine.containers.registry import Container
from orlop.errors import InvalidArgument
from orlop.linux.openat2 import BENEATH, NO_MAGICLINKS, openat2
from orlop.model.record import ContainerRecord
from orlop.runtime import security
from orlop.runtime.spec import SpecContext, build_spec

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["build", "check_mount_sources", "context", "seccomp"]

INIT_BINARIES = (
    "/usr/bin/tini-static",
    "/usr/libexec/docker/docker-init",
    "/usr/bin/docker-init",
    "/usr/bin/catatonit",
)


def context(engine: Engine, container: Container) -> SpecContext:
    """Return what `build_spec` has to know beside the record."""
    record = container.record
    directory = engine.directory(record.id)
    names = ("hosts", "hostname", "resolv.conf")
    shm_namespace = _shared_memory(engine, record)
    return SpecContext(
        facts=engine.facts,
        cgroup_path=engine.cgroup_path(record),
        files={f"/etc/{name}": str(directory / name) for name in names if (directory / name).exists()},
        namespaces=_namespaces(engine, record),
        shm=None if shm_namespace is None else "/dev/shm",
        shm_namespace=shm_namespace or "",
        init_binary=_init_binary(engine) if record.host_config.init else None,
        seccomp_default=engine.seccomp_profile,
        no_new_privileges=engine.config.no_new_privileges,
        default_ulimits=engine.config.default_ulimits,
        mountinfo=Path("/proc/self/mountinfo").read_text,
    )


def build(container: Container, context: SpecContext, variables: list[str]) -> dict[str, Any]:
    """Return the OCI specification; `variables` (of links) come before the container's own environment."""
    record = container.record
    if variables:
        env = [*variables, *(record.config.env or [])]
        record = msgspec.structs.replace(record, config=msgspec.structs.replace(record.config, env=env))
    return build_spec(record, context)


def seccomp(spec: dict[str, Any]) -> bytes | None:
    """Return the compiled program of the specification's profile."""
    profile = spec["linux"].get("seccomp")
    return security.compiled(profile) if profile else None


async def check_mount_sources(record: ContainerRecord) -> None:
    """Raise `InvalidArgument` when a host path, or the path in a volume, that is to be mounted is not there (any more).

    Nothing is lost when it changes right after this: the kernel looks once more, and follows no link out of a volume.
    """
    for mount in record.mounts:  # a path may lie on a server that does not answer
        if mount.type == "bind" and not await asyncio.to_thread(Path(mount.source).exists):
            raise InvalidArgument(
                f'invalid mount config for type "bind": bind source path does not exist: {mount.source}'
            )
        if mount.type == "volume" and mount.subpath:
            await asyncio.to_thread(_check_subpath, mount.source, mount.subpath)


def _check_subpath(volume: str, subpath: str) -> None:
    root = os.open(volume, os.O_PATH | os.O_DIRECTORY)
    try:
        os.close(openat2(root, subpath, os.O_PATH, resolve=BENEATH | NO_MAGICLINKS))
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.ELOOP):
            raise InvalidArgument(
                f"path concatenation escapes the base directory, base: {volume}, subpath: {subpath}"
            ) from None
        raise InvalidArgument(f"cannot access path {volume}/{subpath}: {error.strerror}") from None
    finally:
        os.close(root)


def _namespaces(engine: Engine, record: ContainerRecord) -> dict[str, str]:
    """Return which namespaces are not new: a path to join, or "" for the host's."""
    found = {}
    host = record.host_config
    for kind, mode in (("network", host.network_mode), ("pid", host.pid_mode), ("ipc", host.ipc_mode)):
        if mode == "host":
            found[kind] = ""
        elif mode.startswith("container:"):
            target = networking.running_target(engine, kind, mode.removeprefix("container:"))
            name = {"network": "net"}.get(kind, kind)
            found[kind] = f"/proc/{target.state.pid}/ns/{name}"
    if host.uts_mode == "host":
        found["uts"] = ""
    if host.cgroupns_mode == "host":
        found["cgroup"] = ""
    return found


def _shared_memory(engine: Engine, record: ContainerRecord) -> str | None:
    """Return the mount namespace whose /dev/shm the container has, too: "" for the host's, None if it has its own.

    Raises `InvalidArgument` when the joined container keeps its own to itself.
    """
    mode = record.host_config.ipc_mode
    if mode == "host":
        return ""
    if mode.startswith("container:"):
        target = networking.running_target(engine, "ipc", mode.removeprefix("container:"))
        if target.record.host_config.ipc_mode in ("private", "none"):
            raise InvalidArgument(
                f"can't join IPC of container {target.id}: "
                "non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
            )
        return f"/proc/{target.state.pid}/ns/mnt"
    return None


def _init_binary(engine: Engine) -> str:
    for candidate in (engine.config.init_path, *INIT_BINARIES):
        path = Path(candidate)
        if candidate and path.is_file() and path.stat().st_mode & stat.S_IXUSR:
            return candidate
    raise InvalidArgument(
        "--init needs a static init program on the host: install tini (Debian: apt-get install tini) "
        "or name one with orlopd --init-path"
    )


def seccomp_of(engine: Engine, container: Container, context: SpecContext) -> bytes | None:
    """Return the compiled program that the container's own processes run under, for an exec."""
    if not container.seccomp_known:
        container.seccomp = seccomp(build_spec(container.record, context))
        container.seccomp_known = True
    return container.seccomp
