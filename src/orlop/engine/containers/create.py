"""`POST /containers/create`: check everything, resolve everything, then one transaction."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import msgspec

from orlop.engine.containers import defaults, events, files, links, mounts, ports
from orlop.engine.containers.merge import command, merge
from orlop.engine.containers.registry import Container
from orlop.engine.containers.stop import parse_signal
from orlop.errors import InvalidArgument, NotFound
from orlop.formats import identity
from orlop.formats.netlink import NetlinkFormatError
from orlop.formats.rtnetlink import mac_bytes
from orlop.model.api.container import ContainerConfig, ContainerCreate, EndpointSettings, HostConfig
from orlop.model.record import ContainerRecord, ImageRecord
from orlop.runtime import security, validate

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["create"]

GENERATED_NAMES = 6  # tries before an id is part of the name


async def create(
    engine: Engine, *, name: str | None, body: ContainerCreate, platform: str = ""
) -> tuple[str, list[str]]:
    """Create a container that does not run yet; return its id and warnings.

    Raises `InvalidArgument`, `NotFound` (no such image) and `Conflict` (the name is taken); then nothing is left.
    """
    name = _check_name(name)
    image = _image(engine, body.image, platform)
    image_config = engine.images.config(image).get("config") or {}
    config = merge(body, image_config)
    host = defaults.fill(body.host_config or HostConfig(), engine.config, engine.facts)
    warnings = validate.validate(config, body.host_config or HostConfig(), engine.facts)
    security.check(host)
    files.check(host)
    ports.requests(config, host)
    _check_joined(engine, host)
    host = links.resolved(engine, host)
    networks = _networks(engine, body, host)
    container_id = identity.new_id()
    _check_hostname(config)
    if not config.hostname:
        config = msgspec.structs.replace(config, hostname=_hostname(engine, host, container_id))
    if config.stop_signal:
        parse_signal(config.stop_signal)
    path, args = command(config)
    plan = mounts.plan(engine, config, host)
    async with mounts.realised(engine, plan, image) as mount_records:
        record = ContainerRecord(
            id=container_id,
            name=name or _free_name(engine, container_id),
            created_at=time.time_ns(),
            image_id=image.id,
            config=config,
            host_config=host,
            path=path,
            args=args,
            networks=networks,
            mounts=mount_records,
            platform=image.os,
        )
        container = await _enter(engine, record, image)
    events.publish(engine, container, "create")
    return container_id, warnings


async def _enter(engine: Engine, record: ContainerRecord, image: ImageRecord) -> Container:
    try:
        engine.snapshots.prepare(record.id, image)
        container = await engine.containers.add(record)
        try:
            engine.images.get(image.id)
        except NotFound:  # it was removed before the container's need of it was known
            await engine.containers.remove(container)
            raise
        return container
    except BaseException:
        engine.snapshots.remove(record.id)
        raise


def _check_joined(engine: Engine, host: HostConfig) -> None:
    """Whose processes or memory is to be shared has to exist already, though it need not run yet."""
    for mode in (host.pid_mode, host.ipc_mode):
        if mode.startswith("container:"):
            try:
                engine.containers.resolve(mode.removeprefix("container:"))
            except NotFound as error:
                raise InvalidArgument(error.message) from None


def _check_name(name: str | None) -> str:
    if not name:
        return ""
    return identity.check_container_name(name.removeprefix("/"))


def _free_name(engine: Engine, container_id: str) -> str:
    for _ in range(GENERATED_NAMES):
        name = identity.random_name()
        if engine.containers.by_name(name) is None:
            return name
    return f"{identity.random_name()}_{container_id[:6]}"


def _image(engine: Engine, ref: str, platform: str) -> ImageRecord:
    image = engine.images.resolve(ref)
    if not platform:
        return image
    wanted = platform.lower().split("/")
    having = [image.os, image.architecture, image.variant]
    aliases = {"x86_64": "amd64", "aarch64": "arm64"}
    wanted = [aliases.get(word, word) for word in wanted]
    if len(wanted) == 1 and wanted[0] == image.os:
        return image
    if [w for w, h in zip(wanted, having, strict=False) if w != h]:
        raise NotFound(f"image with reference {ref} was found but does not provide the specified platform ({platform})")
    return image


def _check_hostname(config: ContainerConfig) -> None:
    """Names end up in files and in sethostname(2), so nothing but a name may be in them."""
    for what, name in (("hostname", config.hostname), ("domainname", config.domainname)):
        if name and (len(name) > 64 or not re.fullmatch(r"[a-zA-Z0-9_.-]+", name)):
            raise InvalidArgument(f"invalid {what} format for container: {name!r}")


def _hostname(engine: Engine, host: HostConfig, container_id: str) -> str:
    if host.uts_mode == "host" or host.network_mode == "host":
        return engine.facts.hostname
    if host.network_mode.startswith("container:"):
        try:
            return engine.containers.resolve(host.network_mode.removeprefix("container:")).record.config.hostname
        except NotFound:  # the start says so; to a client, "not found" here means the image
            return container_id[:12]
    return container_id[:12]


def _networks(engine: Engine, body: ContainerCreate, host: HostConfig) -> dict[str, EndpointSettings]:
    asked = body.networking_config.endpoints_config if body.networking_config else None
    networks = {defaults.network_mode(name): settings or EndpointSettings() for name, settings in (asked or {}).items()}
    for name, settings in networks.items():
        if name not in ("bridge", "host", "none"):
            continue
        problems = []
        if settings.ipam_config and (settings.ipam_config.ipv4_address or settings.ipam_config.ipv6_address):
            problems.append("user specified IP address is supported on user defined networks only")
        if settings.aliases:
            problems.append("network-scoped alias is supported only for containers in user defined networks")
        if problems:
            raise InvalidArgument(
                f"invalid config for network {name}: invalid endpoint settings:\n" + "\n".join(problems)
            )
    mode = host.network_mode
    if mode.startswith("container:"):
        if networks:
            raise InvalidArgument("conflicting options: cannot attach both user-defined and container networks")
        return {}
    _check_together({*networks, mode})
    primary = networks.get(mode) or EndpointSettings()
    mac = primary.mac_address or body.mac_address
    if mac:
        _check_mac(mac)
        primary = msgspec.structs.replace(primary, mac_address=mac)
    return {**networks, mode: primary}


def _check_together(names: set[str]) -> None:
    """Refuse networks that no container can have beside others."""
    if len(names) > 1 and "host" in names:
        raise InvalidArgument(
            "container sharing network namespace with another container or host "
            "cannot be connected to any other network"
        )
    if len(names) > 1 and "none" in names:
        raise InvalidArgument(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )


def _check_mac(text: str) -> None:
    try:
        mac_bytes(text)
    except NetlinkFormatError:
        raise InvalidArgument(f"invalid MAC address: {text}") from None
