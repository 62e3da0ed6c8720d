"""A container's part in a network: its endpoint from allocation to release, and whose namespace it joins."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from orlop.engine.containers import events, ports
from orlop.engine.containers.registry import Container
from orlop.errors import Conflict, Error, Internal, InvalidArgument, NotFound
from orlop.formats import identity
from orlop.model.api.container import HostConfig
from orlop.network.network import EndpointRequest

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["allocate", "connect", "joined", "publish_disconnect", "release", "running_target"]

log = logging.getLogger(__name__)


def joined(host: HostConfig) -> list[tuple[str, str]]:
    """Return which kinds of namespaces this container joins, and the references of the containers they are of."""
    modes = (("network", host.network_mode), ("pid", host.pid_mode), ("ipc", host.ipc_mode))
    return [(kind, mode.removeprefix("container:")) for kind, mode in modes if mode.startswith("container:")]


def running_target(engine: Engine, kind: str, ref: str) -> Container:
    """Return the container whose namespace is to be joined. Raises an error when it does not run.

    It never raises `NotFound`: that would say that the container which is to be started does not exist.
    """
    try:
        target = engine.containers.resolve(ref)
    except NotFound as error:
        if kind == "network":
            raise Internal(f"joining network namespace of container: {error.message}") from error
        raise InvalidArgument(error.message) from error
    if kind != "network":
        if not target.running:
            raise Internal(f"failed to join {kind.upper()} namespace: container {target.id} is not running")
        if target.state.status == "restarting":
            raise Internal(
                f"failed to join {kind.upper()} namespace: "
                f"Container {target.id} is restarting, wait until the container is running"
            )
        return target
    if not target.running:
        raise Conflict(
            f"cannot join network namespace of a non running container: container /{target.name} is not running"
        )
    if target.state.status == "restarting":
        raise Conflict(f"cannot join network namespace of container: Container {target.id} is restarting")
    return target


async def allocate(engine: Engine, container: Container) -> None:
    """Reserve address and ports where the container has a network of its own."""
    record = container.record
    mode = record.host_config.network_mode
    if mode in ("host", "none"):
        events.publish_network(engine, container, "connect", mode)
    if mode in ("host", "none") or mode.startswith("container:") or record.config.network_disabled:
        return
    if mode != "bridge" or engine.bridge is None:
        raise NotFound(f"network {mode} not found")
    settings = record.networks.get(mode)
    request = EndpointRequest(
        container_id=record.id,
        endpoint_id=identity.new_id(),
        mac=settings.mac_address if settings else "",
        ports=ports.requests(record.config, record.host_config, engine.config.default_ip),
    )
    try:
        container.endpoint = await engine.bridge.allocate(request)
    except Error as error:
        raise Internal(
            "failed to set up container networking: driver failed programming external connectivity on endpoint "
            f"{record.name} ({request.endpoint_id}): {error.message}"
        ) from error


async def connect(engine: Engine, container_id: str, netns_fd: int) -> dict[str, Any]:
    """Connect the network namespace of a container that is being started; return what its shim sets up inside."""
    container = engine.containers.get(container_id)
    if container is None or container.endpoint is None or engine.bridge is None:
        raise Internal(f"container {container_id[:12]} has no endpoint to connect")
    answer = await engine.bridge.connect(container.endpoint, netns_fd)
    events.publish_network(engine, container, "connect", container.endpoint.record.network)
    return answer


async def release(engine: Engine, container: Container) -> None:
    """Give back what the container holds of a network, whether it is of this daemon's time or adopted."""
    records = {record.endpoint_id: record for record in container.record.endpoints}
    if container.endpoint:
        records[container.endpoint.record.endpoint_id] = container.endpoint.record
        for sock in container.endpoint.sockets:
            sock.close()
        container.endpoint = None
    for record in records.values():
        if engine.bridge is None:
            log.warning("endpoint %s has no bridge any more", record.endpoint_id[:12])
            continue
        await engine.bridge.release(record)


def publish_disconnect(engine: Engine, container: Container) -> None:
    """Publish that a container that ended has left its network."""
    mode = container.record.host_config.network_mode
    if mode in ("host", "none"):
        events.publish_network(engine, container, "disconnect", mode)
    for record in container.record.endpoints:
        events.publish_network(engine, container, "disconnect", record.network)
