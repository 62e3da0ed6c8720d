"""`/containers/…`: all but streams that are hijacked and what is still to come."""

from __future__ import annotations

import time

import msgspec

from orlop.api import body, requests
from orlop.api.call import JSON, Answer, Call, answer, empty
from orlop.api.hijack import MULTIPLEXED_STREAM, RAW_STREAM
from orlop.api.router import Route
from orlop.api.streams import send_archive, send_blocks, send_json_lines
from orlop.api.versions import adjust
from orlop.engine.containers import (
    attach,
    changes,
    commit,
    create,
    export,
    inspect,
    logs,
    pause,
    prune,
    remove,
    rename,
    resize,
    restart,
    start,
    stats,
    stop,
    top,
    update,
    wait,
)
from orlop.engine.containers import list as listing
from orlop.engine.hijack import AttachOptions
from orlop.errors import InvalidArgument
from orlop.formats import stream
from orlop.formats.duration import parse_time
from orlop.model.api.container import ContainerConfig, ContainerCreate, ContainerUpdate
from orlop.runtime.logs import LogQuery

__all__ = ["ROUTES"]

_NO_TIME = ("", "0")
OCTETS = "application/octet-stream"
_LONGEST_NOTHING = 7  # a body of a start request up to this length counts as none


async def list_containers(call: Call) -> Answer:
    found = await listing.list_containers(
        call.engine,
        all=call.query.flag("all"),
        limit=call.query.integer("limit") or 0,
        size=call.query.flag("size"),
        filters=call.query.filters(listing.FILTERS),
    )
    return answer([adjust("container-summary", call.version, summary) for summary in found])


async def create_container(call: Call) -> Answer:
    fields = await call.json()
    asked = body.decode_fields(fields, ContainerCreate)
    if not body.fields_of(fields, ContainerConfig):
        raise InvalidArgument("config cannot be empty in order to create a container")
    asked, warnings = requests.create(asked, call.version, cgroup_v1=call.engine.facts.cgroup_version == 1)
    container_id, more = await create.create(
        call.engine,
        name=call.query.text("name") or None,
        body=asked,
        platform=call.query.text("platform") if call.version >= (1, 41) else "",
    )
    return answer({"Id": container_id, "Warnings": [*more, *warnings]}, 201)


async def inspect_container(call: Call) -> Answer:
    found = await inspect.inspect(call.engine, call.parts["id"], size=call.query.flag("size"))
    return answer(adjust("container", call.version, found))


async def start_container(call: Call) -> Answer:
    length = call.header("Content-Length") or "0"
    if call.header("Transfer-Encoding") or not length.isdigit() or int(length) > _LONGEST_NOTHING:
        raise InvalidArgument(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
        )
    await start.start(call.engine, call.parts["id"], detach_keys=call.query.text("detachKeys"))
    return empty()


async def stop_container(call: Call) -> Answer:
    await stop.stop(call.engine, call.parts["id"], timeout=call.query.integer("t"), signal=_stop_signal(call))
    return empty()


async def restart_container(call: Call) -> Answer:
    await restart.restart(call.engine, call.parts["id"], timeout=call.query.integer("t"), signal=_stop_signal(call))
    return empty()


async def kill_container(call: Call) -> Answer:
    await stop.kill(call.engine, call.parts["id"], signal=call.query.text("signal"))
    return empty()


async def pause_container(call: Call) -> Answer:
    await pause.pause(call.engine, call.parts["id"])
    return empty()


async def unpause_container(call: Call) -> Answer:
    await pause.unpause(call.engine, call.parts["id"])
    return empty()


async def rename_container(call: Call) -> Answer:
    await rename.rename(call.engine, call.parts["id"], call.query.text("name"))
    return empty()


async def resize_container(call: Call) -> Answer:
    height, width = call.query.size("h", "resize height"), call.query.size("w", "resize width")
    await resize.resize(call.engine, call.parts["id"], height=height, width=width)
    return empty(200)


async def update_container(call: Call) -> Answer:
    asked = requests.update(await call.decode(ContainerUpdate), call.version)
    return answer({"Warnings": await update.update(call.engine, call.parts["id"], asked)})


async def remove_container(call: Call) -> Answer:
    flag = call.query.flag
    await remove.remove(call.engine, call.parts["id"], volumes=flag("v"), link=flag("link"), force=flag("force"))
    return empty()


async def prune_containers(call: Call) -> Answer:
    return answer(await prune.prune(call.engine, filters=call.query.filters(prune.FILTERS)))


async def list_processes(call: Call) -> Answer:
    return answer(await top.top(call.engine, call.parts["id"], ps_args=call.query.text("ps_args")))


async def list_changes(call: Call) -> Answer:
    return answer(await changes.changes(call.engine, call.parts["id"]))


async def export_container(call: Call) -> Answer:
    return await send_archive(call, export.export(call.engine, call.parts["id"]), OCTETS)


async def commit_container(call: Call) -> Answer:
    query = call.query
    fields = await call.json() if call.has_body else None
    image_id = await commit.commit(
        call.engine,
        query.text("container"),
        repo=query.text("repo"),
        tag=query.text("tag"),
        author=query.text("author"),
        comment=query.text("comment"),
        pause=not query.text("pause") or query.flag("pause"),
        changes=query.all("changes"),
        config=body.decode_fields(fields, ContainerCreate) if fields else None,
    )
    return answer({"Id": image_id}, 201)


async def send_stats(call: Call) -> Answer:
    streaming = call.query.flag("stream", default=True)
    one_shot = call.version >= (1, 41) and call.query.flag("one-shot")
    readings = await stats.stats(call.engine, call.parts["id"], stream=streaming, one_shot=one_shot)
    return await send_json_lines(call, readings)


async def send_logs(call: Call) -> Answer:
    found = await logs.logs(call.engine, call.parts["id"], query=_log_query(call))
    multiplexed = not found.tty and call.version >= (1, 42)

    def failure(message: str) -> bytes:
        text = f"Error grabbing logs: {message}\n".encode()
        return text if found.tty else stream.frame(stream.SYSTEM_ERROR, text)

    return await send_blocks(call, found.blocks, MULTIPLEXED_STREAM if multiplexed else RAW_STREAM, failure)


async def wait_for_container(call: Call) -> Answer:
    condition = call.query.text("condition") if call.version >= (1, 30) else ""
    waiter = await wait.wait(call.engine, call.parts["id"], condition=condition)
    response = await call.start(JSON)  # the client starts the container when it has seen the head
    await response.write(msgspec.json.encode(await waiter.result()) + b"\n")
    await response.write_eof()
    return response


async def attach_to_container(call: Call) -> Answer:
    flag = call.query.flag
    options = AttachOptions(
        logs=flag("logs"),
        stream=flag("stream"),
        stdin=flag("stdin"),
        stdout=flag("stdout"),
        stderr=flag("stderr"),
        detach_keys=call.query.text("detachKeys"),
    )
    await attach.attach(call.engine, call.parts["id"], options=options, connection=call.connection())
    return empty(200)


def _stop_signal(call: Call) -> str:
    return call.query.text("signal") if call.version >= (1, 42) else ""


def _log_query(call: Call) -> LogQuery:
    query = call.query
    if not (query.flag("stdout") or query.flag("stderr")):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    now = time.time_ns()
    tail = query.text("tail")
    since, until = query.text("since"), query.text("until")
    return LogQuery(
        stdout=query.flag("stdout"),
        stderr=query.flag("stderr"),
        since_ns=0 if since in _NO_TIME else parse_time(since, now),
        until_ns=None if until in _NO_TIME else parse_time(until, now),
        tail=int(tail) if tail.isascii() and tail.isdigit() and len(tail) < 19 else None,
        timestamps=query.flag("timestamps"),
        details="1" if query.flag("details") else "",  # the engine knows what they are
        follow=query.flag("follow"),
    )


ROUTES = (
    Route("GET", "/containers/json", list_containers),
    Route("POST", "/containers/create", create_container),
    Route("POST", "/containers/prune", prune_containers),
    Route("GET", "/containers/{id}/json", inspect_container),
    Route("GET", "/containers/{id}/top", list_processes),
    Route("GET", "/containers/{id}/logs", send_logs),
    Route("GET", "/containers/{id}/changes", list_changes),
    Route("GET", "/containers/{id}/export", export_container),
    Route("POST", "/commit", commit_container),
    Route("GET", "/containers/{id}/stats", send_stats),
    Route("POST", "/containers/{id}/resize", resize_container),
    Route("POST", "/containers/{id}/start", start_container),
    Route("POST", "/containers/{id}/stop", stop_container),
    Route("POST", "/containers/{id}/restart", restart_container),
    Route("POST", "/containers/{id}/kill", kill_container),
    Route("POST", "/containers/{id}/update", update_container),
    Route("POST", "/containers/{id}/rename", rename_container),
    Route("POST", "/containers/{id}/pause", pause_container),
    Route("POST", "/containers/{id}/unpause", unpause_container),
    Route("POST", "/containers/{id}/attach", attach_to_container),
    Route("POST", "/containers/{id}/wait", wait_for_container),
    Route("DELETE", "/containers/{id}", remove_container),
)
