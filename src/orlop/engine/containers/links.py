"""`--link` on the default bridge: another container's name in /etc/hosts and its addresses in the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orlop.engine.containers import ports
from orlop.engine.containers.registry import Container
from orlop.errors import InvalidArgument, NotFound
from orlop.model.api.container import HostConfig
from orlop.model.record import ContainerRecord, EndpointRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["environment", "host_entries", "names", "resolved", "shown", "targets"]

# What another container's environment has of its own and does not pass on.
PRIVATE = ("HOME", "PATH", "HOSTNAME", "TERM")


def resolved(engine: Engine, host: HostConfig) -> HostConfig:
    """Return `host` with links to containers, which may be renamed, by their ids.

    Raises an error when a link names no container, or the network mode has no links.
    """
    if not host.links:
        return host
    if host.network_mode == "host":
        raise InvalidArgument("conflicting options: host type networking can't be used with links")
    if host.network_mode.startswith("container:"):
        raise InvalidArgument("conflicting options: container type network can't be used with links")
    _check_reach(engine)
    found = [_target(engine, link) for link in host.links]
    return msgspec.structs.replace(host, links=[f"{target.id}:{alias}" for target, alias in found])


def shown(engine: Engine, record: ContainerRecord) -> list[str] | None:
    """Return the links of a container as `inspect` has them: ``/target:/container/alias``; None if it has none."""
    found = [(engine.containers.get(target), alias) for target, alias in _stored(record)]
    return [f"/{target.name}:/{record.name}/{alias}" for target, alias in found if target] or None


def names(engine: Engine) -> dict[str, list[str]]:
    """Return the names that links give to containers (by id): ``/container/alias``."""
    answer: dict[str, list[str]] = {}
    for container in engine.containers:
        for target, alias in _stored(container.record):
            answer.setdefault(target, []).append(f"/{container.name}/{alias}")
    return answer


def _stored(record: ContainerRecord) -> list[tuple[str, str]]:
    """Return id and alias of each link."""
    links = [link.partition(":") for link in record.host_config.links or []]
    return [(target, alias.rpartition("/")[2] or target) for target, _, alias in links]


def _check_reach(engine: Engine) -> None:
    """Where containers do not reach each other, a link would be a name that leads nowhere."""
    if not engine.config.icc:
        raise InvalidArgument(
            "links need containers that reach each other, and this daemon keeps them apart (--icc=false): "
            "opening single ports between them is not supported"
        )


def targets(host: HostConfig) -> list[str]:
    """Return the references of the containers that a container is linked to."""
    return [link.partition(":")[0] for link in host.links or []]


def host_entries(engine: Engine, record: ContainerRecord) -> list[tuple[str, list[str]]]:
    """Return (address, names) of every linked container, for /etc/hosts. A target that does not run is an error."""
    entries = []
    if record.host_config.links:
        _check_reach(engine)
    for link in record.host_config.links or []:
        target, alias = _target(engine, link)
        endpoint = _endpoint(target, record.name, alias)
        names = [alias, target.record.config.hostname]
        if target.name not in names:
            names.append(target.name)
        entries.append((endpoint.address, names))
    return entries


def environment(engine: Engine, record: ContainerRecord) -> list[str]:
    """Return the variables that tell a container of the ones it is linked to."""
    variables = []
    for link in record.host_config.links or []:
        target, alias = _target(engine, link)
        variables += _variables(record.name, alias, target, _endpoint(target, record.name, alias).address)
    return variables


def _variables(child: str, alias: str, target: Container, address: str) -> list[str]:
    prefix = alias.replace("-", "_").upper()
    exposed = sorted(
        (ports.parse_port(port) for port in target.record.config.exposed_ports or {}),
        key=lambda port: (port[1] != "tcp", port[0]),
    )
    lines = [f"{prefix}_NAME=/{child}/{alias}"]
    if exposed:
        lines.append(f"{prefix}_PORT={exposed[0][1]}://{address}:{exposed[0][0]}")
    for number, protocol in exposed:
        name = f"{prefix}_PORT_{number}_{protocol.upper()}"
        lines += [
            f"{name}={protocol}://{address}:{number}",
            f"{name}_ADDR={address}",
            f"{name}_PORT={number}",
            f"{name}_PROTO={protocol}",
        ]
    for entry in target.record.config.env or []:
        name, equals, value = entry.partition("=")
        if equals and name not in PRIVATE:
            lines.append(f"{prefix}_ENV_{name}={value}")
    return lines


def _target(engine: Engine, link: str) -> tuple[Container, str]:
    name, _, alias = link.partition(":")
    if not name or ":" in alias:
        raise InvalidArgument(f"bad format for links: {link}")
    try:
        target = engine.containers.resolve(name)
    except NotFound:
        raise InvalidArgument(f"could not get container for {name}") from None
    return target, alias.rpartition("/")[2] or target.name


def _endpoint(target: Container, parent: str, alias: str) -> EndpointRecord:
    if not target.running or not target.record.endpoints:
        raise InvalidArgument(f"Cannot link to a non running container: /{target.name} AS /{parent}/{alias}")
    return target.record.endpoints[0]
