"""`/orlop/…`: what Orlop has and Docker's API has not. Long answers are JSON, a document a line."""

from __future__ import annotations

from orlop.api.call import Answer, Call
from orlop.api.router import Route
from orlop.api.streams import send_progress
from orlop.engine.images import anatomy
from orlop.engine.system import check

__all__ = ["ROUTES"]


async def check_store(call: Call) -> Answer:
    checked = check.check(call.engine, repair=call.query.flag("repair"))
    return await send_progress(call, checked, early_errors=True)


async def show_layers(call: Call) -> Answer:
    found = anatomy.layers(call.engine, call.parts["name"], files=call.query.flag("files", default=True))
    return await send_progress(call, found, early_errors=True)


async def compare_images(call: Call) -> Answer:
    found = anatomy.diff(call.engine, call.query.text("from"), call.query.text("to"))
    return await send_progress(call, found, early_errors=True)


ROUTES = (
    Route("POST", "/orlop/system/check", check_store),
    Route("GET", "/orlop/images/{name}/layers", show_layers),
    Route("GET", "/orlop/images/diff", compare_images),
)
