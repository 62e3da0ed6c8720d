"""`/orlop/build…`: what `orlop build` uses. A context is sent as a list of what is in it, then what is not here yet.

What builds need is loaded by the first of them.
"""

from __future__ import annotations

from orlop.api.call import Answer, Call, answer, empty
from orlop.api.router import Route
from orlop.api.streams import send_progress
from orlop.model.api.build import BuildCreate

__all__ = ["ROUTES"]


async def create_context(call: Call) -> Answer:
    from orlop.engine.builds import own_build

    if call.query.text("format") == "tar":
        return answer(await own_build.unpack_context(call.engine, call.upload()))
    return answer(await own_build.create_context(call.engine, call.upload()))


async def send_files(call: Call) -> Answer:
    from orlop.engine.builds import own_build

    await own_build.receive_files(call.engine, call.parts["id"], call.upload())
    return empty()


async def build_image(call: Call) -> Answer:
    from orlop.engine.builds import own_build

    body = await call.decode(BuildCreate)
    call.watch()
    built = own_build.build(call.engine, body, registries=call.header("X-Registry-Config"))
    return await send_progress(call, built, early_errors=True)


async def list_kept(call: Call) -> Answer:
    from orlop.engine.builds import own_build

    return answer(own_build.kept(call.engine))


async def open_shell(call: Call) -> Answer:
    tty = call.query.flag("tty")
    size = (call.query.integer("h") or 0, call.query.integer("w") or 0)
    await call.engine.builds.kept.shell(call.parts["id"], call.connection(), tty=tty, size=size)
    return empty(200)


async def resize_shell(call: Call) -> Answer:
    height, width = call.query.size("h", "resize height"), call.query.size("w", "resize width")
    await call.engine.builds.kept.resize(call.parts["id"], height, width)
    return empty(200)


async def dismiss_kept(call: Call) -> Answer:
    await call.engine.builds.kept.dismiss(call.parts["id"])
    return empty()


ROUTES = (
    Route("POST", "/orlop/build", build_image),
    Route("POST", "/orlop/build/contexts", create_context),
    Route("POST", "/orlop/build/contexts/{id}/files", send_files),
    Route("GET", "/orlop/build/kept", list_kept),
    Route("POST", "/orlop/build/kept/{id}/shell", open_shell),
    Route("POST", "/orlop/build/kept/{id}/resize", resize_shell),
    Route("DELETE", "/orlop/build/kept/{id}", dismiss_kept),
)
