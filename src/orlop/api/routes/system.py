"""`/_ping`, `/version`, `/info`, `/events`, `/system/df`."""

from __future__ import annotations

import time

from orlop.api.call import Answer, Call, answer, empty, text
from orlop.api.router import Route
from orlop.api.streams import send_json_lines
from orlop.api.versions import adjust
from orlop.engine.events import event_json
from orlop.engine.system import info, usage, version
from orlop.errors import InvalidArgument
from orlop.formats.duration import parse_time
from orlop.model.api.base import Json
from orlop.model.record import EventRecord

__all__ = ["ROUTES"]

_PING = {
    "Builder-Version": "1",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Swarm": "inactive",
    "Content-Type": "text/plain; charset=utf-8",
}
_EVENT_FILTERS = (
    "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret",
    "service", "type", "volume",
)  # fmt: skip


async def ping(call: Call) -> Answer:
    return empty(200, _PING) if call.method == "HEAD" else text("OK", _PING)


async def show_version(call: Call) -> Answer:
    return answer(await version.version(call.engine))


async def show_info(call: Call) -> Answer:
    return answer(adjust("info", call.version, await info.info(call.engine)))


async def events(call: Call) -> Answer:
    now = time.time_ns()
    since, until = _time(call, "since", now), _time(call, "until", now)
    if since is not None and until is not None and until < since:
        texts = call.query.text("since"), call.query.text("until")
        raise InvalidArgument(f"`since` time ({texts[0]}) cannot be after `until` time ({texts[1]})")
    subscription = call.engine.events.subscribe(since, until, call.query.filters(_EVENT_FILTERS))

    def shape(record: EventRecord) -> Json | None:
        if call.version < (1, 46) and (record.type, record.action) == ("image", "create"):
            return None  # older clients do not know it
        return event_json(record)

    return await send_json_lines(call, subscription, shape)


async def disk_usage(call: Call) -> Answer:
    kinds = call.query.all("type") if call.version >= (1, 42) else ()
    for kind in kinds:
        if kind not in usage.KINDS:
            raise InvalidArgument(f"unknown object type: {kind}")
    found = await usage.usage(call.engine, kinds)
    left_out = {name: None for name, value in found.items() if value is None}
    return answer(adjust("usage", call.version, found) | left_out)


def _time(call: Call, name: str, now: int) -> int | None:
    given = call.query.text(name)
    return parse_time(given, now) if given else None


ROUTES = (
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", ping),
    Route("GET", "/version", show_version),
    Route("GET", "/info", show_info),
    Route("GET", "/events", events),
    Route("GET", "/system/df", disk_usage),
)
