"""`/containers/{id}/exec` and `/exec/…`."""

from __future__ import annotations

from orlop.api import requests
from orlop.api.call import Answer, Call, answer, empty
from orlop.api.router import Route
from orlop.engine.containers import exec as execs
from orlop.model.api.exec import ExecCreate, ExecStart

__all__ = ["ROUTES"]


async def create_exec(call: Call) -> Answer:
    asked = requests.exec_create(await call.decode(ExecCreate), call.version)
    return answer({"Id": await execs.create(call.engine, call.parts["id"], asked)}, 201)


async def start_exec(call: Call) -> Answer:
    asked = requests.exec_start(await call.decode(ExecStart), call.version)
    connection = None if asked.detach else call.connection()
    await execs.start(call.engine, call.parts["id"], body=asked, connection=connection)
    return empty(200)


async def resize_exec(call: Call) -> Answer:
    height, width = call.query.size("h", "resize height"), call.query.size("w", "resize width")
    await execs.resize(call.engine, call.parts["id"], height=height, width=width)
    return empty(200)


async def inspect_exec(call: Call) -> Answer:
    return answer(await execs.inspect(call.engine, call.parts["id"]))


ROUTES = (
    Route("POST", "/containers/{id}/exec", create_exec),
    Route("POST", "/exec/{id}/start", start_exec),
    Route("POST", "/exec/{id}/resize", resize_exec),
    Route("GET", "/exec/{id}/json", inspect_exec),
)
