"""`GET /containers/json`: `docker ps`, with all its filters."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from orlop.engine.containers import health, inspect, links, ports
from orlop.engine.containers.registry import Container
from orlop.errors import InvalidArgument, NotFound
from orlop.formats.filters import Filters
from orlop.formats.units import human_duration
from orlop.model.record import ContainerRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["FILTERS", "list_containers"]

Json = dict[str, Any]

FILTERS = (
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network",
    "publish", "since", "status", "volume",
)  # fmt: skip
STATUSES = ("created", "dead", "exited", "paused", "removing", "restarting", "running")


async def list_containers(engine: Engine, *, all: bool, limit: int, size: bool, filters: Filters) -> list[Json]:
    """Return summaries, newest first. `limit` (if positive) and the filters on past states imply `all`."""
    _check(filters)
    chosen = _select(engine, filters)
    everything = all or limit > 0 or any(filters.has(key) for key in ("status", "exited", "since", "before"))
    if not everything:
        chosen = [container for container in chosen if container.running or container.state.status == "restarting"]
    chosen.sort(key=lambda container: container.record.created_at, reverse=True)
    if limit > 0:
        chosen = chosen[:limit]
    now = time.time_ns()
    linked = links.names(engine)
    images: dict[tuple[str, str], str] = {}
    answer = []
    for container in chosen:
        item = dict(_lasting(engine, container))
        record = container.record
        named = (record.config.image, record.image_id)
        if named not in images:
            images[named] = _image_name(engine, record)
        item["Names"] = [f"/{record.name}", *linked.get(container.id, ())]
        item["Image"] = images[named]
        item["Status"] = status_text(record, now, health.status(container))
        if size:
            item["SizeRw"], item["SizeRootFs"] = await asyncio.to_thread(engine.snapshots.sizes, container.id)
        answer.append(item)
    return answer


def _lasting(engine: Engine, container: Container) -> Json:
    """Return what of a line of `docker ps` hangs on the record alone, made once for each; it is not to be changed."""
    record = container.record
    if container.summary is None or container.summary[0] is not record:
        container.summary = (record, _summary(engine, record))
    return container.summary[1]


def _summary(engine: Engine, record: ContainerRecord) -> Json:
    """Return one line of `docker ps`, whose empty fields are the caller's to fill."""
    mode = record.host_config.network_mode
    host: Json = {"NetworkMode": mode}
    if record.host_config.annotations:
        host["Annotations"] = record.host_config.annotations
    return {
        "Id": record.id,
        "Names": [],
        "Image": "",
        "ImageID": record.image_id,
        "Command": _command(record),
        "Created": record.created_at // 1_000_000_000,
        "Ports": _ports(record),
        "Labels": record.config.labels or {},
        "State": record.state.status,
        "Status": "",
        "HostConfig": host,
        "NetworkSettings": {
            "Networks": {
                name: inspect.endpoint_settings(engine, record, name, asked) for name, asked in record.networks.items()
            }
        },
        "Mounts": inspect.mount_points(record),
    }


def status_text(record: ContainerRecord, now: int, health: str = "none") -> str:
    """Return ``Up 3 minutes (healthy)``, ``Exited (0) 2 hours ago``, ``Created``…"""
    state = record.state
    ago = human_duration(now - state.finished_at)
    match state.status:
        case "running":
            words = {"none": "", "starting": " (health: starting)"}.get(health, f" ({health})")
            return f"Up {human_duration(now - state.started_at)}{words}"
        case "paused":
            return f"Up {human_duration(now - state.started_at)} (Paused)"
        case "restarting":
            return f"Restarting ({state.exit_code}) {ago} ago"
        case "exited":
            return f"Exited ({state.exit_code}) {ago} ago"
        case "removing":
            return "Removal In Progress"
        case "dead":
            return "Dead"
        case _:
            return "Created"


def _command(record: ContainerRecord) -> str:
    words = [record.path, *(f"'{arg}'" if " " in arg else arg for arg in record.args)]
    return " ".join(words)


def _image_name(engine: Engine, record: ContainerRecord) -> str:
    """The name that was asked for, as long as it still means this container's image."""
    name = record.config.image
    try:
        if engine.images.resolve(name).id == record.image_id:
            return name
    except (NotFound, InvalidArgument):
        pass
    return record.image_id


def _ports(record: ContainerRecord) -> list[Json]:
    if not record.endpoints:
        return []
    held = record.endpoints[0]
    published = {(port.container_port, port.protocol) for port in held.ports}
    lines: list[Json] = [
        {"IP": port.host_ip, "PrivatePort": port.container_port, "PublicPort": port.host_port, "Type": port.protocol}
        for port in held.ports
    ]
    for port in record.config.exposed_ports or {}:
        number, protocol = ports.parse_port(port)
        if (number, protocol) not in published:
            lines.append({"PrivatePort": number, "Type": protocol})
    return sorted(lines, key=lambda line: (line["PrivatePort"], line.get("PublicPort", 0), line["Type"]))


def _check(filters: Filters) -> None:
    for status in filters.get("status"):
        if status not in STATUSES:
            raise InvalidArgument(f"invalid filter 'status={status}'")
    for code in filters.get("exited"):
        if not code.lstrip("-").isdigit():
            raise InvalidArgument(f"invalid filter 'exited={code}'")
    for wanted in filters.get("health"):
        if wanted not in ("none", "starting", "healthy", "unhealthy"):
            raise InvalidArgument(f"invalid filter 'health={wanted}'")


def _select(engine: Engine, filters: Filters) -> list[Container]:
    before = [engine.containers.resolve(ref).record.created_at for ref in filters.get("before")]
    since = [engine.containers.resolve(ref).record.created_at for ref in filters.get("since")]
    ancestors = _ancestors(engine, filters)
    chosen = []
    for container in engine.containers:
        record = container.record
        if before and record.created_at >= min(before):
            continue
        if since and record.created_at <= max(since):
            continue
        if ancestors is not None and record.image_id not in ancestors:
            continue
        if (not filters or filters.exact("health", health.status(container))) and _matches(engine, record, filters):
            chosen.append(container)
    return chosen


def _matches(engine: Engine, record: ContainerRecord, filters: Filters) -> bool:
    if not filters:
        return True
    state = record.state
    if filters.has("exited"):
        ended = state.status in ("exited", "dead") and state.finished_at > 0
        if not ended or not filters.exact("exited", str(state.exit_code)):
            return False
    # Docker compares names with and without their slash.
    named = not filters.has("name") or filters.regex("name", f"/{record.name}") or filters.regex("name", record.name)
    return (
        named
        and filters.prefix("id", record.id)
        and filters.exact("status", state.status)
        and filters.match_labels(record.config.labels)
        and (not filters.has("is-task") or not filters.boolean("is-task"))
        and (not filters.has("isolation") or filters.exact("isolation", record.host_config.isolation))
        and _matches_volume(record, filters)
        and _matches_network(engine, record, filters)
        and _matches_ports(record, filters)
    )


def _matches_volume(record: ContainerRecord, filters: Filters) -> bool:
    if not filters.has("volume"):
        return True
    known = {mount.name for mount in record.mounts if mount.name} | {mount.destination for mount in record.mounts}
    known |= {mount.source for mount in record.mounts if mount.type == "bind"}
    return filters.any_exact("volume", known)


def _matches_network(engine: Engine, record: ContainerRecord, filters: Filters) -> bool:
    if not filters.has("network"):
        return True
    known = set(record.networks)
    ids = {engine.network_id(name) for name in known}
    return any(
        wanted in known or any(key.startswith(wanted) for key in ids) for wanted in filters.get("network") if wanted
    )


def _matches_ports(record: ContainerRecord, filters: Filters) -> bool:
    for key, having in (
        ("expose", {ports.parse_port(port) for port in record.config.exposed_ports or {}}),
        ("publish", {(port.host_port, port.protocol) for held in record.endpoints for port in held.ports}),
    ):
        if filters.has(key) and not any(having & set(ports.parse_range(wanted)) for wanted in filters.get(key)):
            return False
    return True


def _ancestors(engine: Engine, filters: Filters) -> set[str] | None:
    """Return the images that the `ancestor` filter means: those named, and those whose layers begin with theirs."""
    if not filters.has("ancestor"):
        return None
    chosen = set()
    for name in filters.get("ancestor"):
        try:
            image = engine.images.resolve(name)
        except (NotFound, InvalidArgument):
            continue
        layers = [layer.diff_id for layer in image.layers]
        chosen |= {
            other.id for other in engine.images if [layer.diff_id for layer in other.layers[: len(layers)]] == layers
        }
    return chosen
