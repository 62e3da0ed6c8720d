"""`/images/…`, as far as no registry and no build is needed."""

from __future__ import annotations

from orlop.api.call import TAR, Answer, Call, answer, empty
from orlop.api.router import Route
from orlop.api.streams import send_archive, send_progress
from orlop.api.versions import adjust
from orlop.engine.images import history, imports, inspect, load, pull, push, remove, save, tag
from orlop.engine.images import list as listing
from orlop.errors import InvalidArgument, NotImplementedYet

__all__ = ["ROUTES"]

_FILTERS = ("before", "dangling", "label", "reference", "since", "until")


async def list_images(call: Call) -> Answer:
    flag = call.query.flag
    found = await listing.list_images(
        call.engine,
        all=flag("all"),
        filters=call.query.filters(_FILTERS),
        shared_size=call.version >= (1, 42) and flag("shared-size"),
        digests=flag("digests"),
        manifests=call.version >= (1, 47) and flag("manifests"),
    )
    return answer([adjust("image-summary", call.version, summary) for summary in found])


async def inspect_image(call: Call) -> Answer:
    manifests = call.version >= (1, 48) and call.query.flag("manifests")
    platform = call.query.text("platform") if call.version >= (1, 49) else ""
    if manifests and platform:
        raise InvalidArgument("conflicting options: manifests and platform options cannot both be set")
    found = await inspect.inspect(call.engine, call.parts["name"], platform=platform, manifests=manifests)
    return answer(adjust("image", call.version, found))


async def show_history(call: Call) -> Answer:
    return answer(await history.history(call.engine, call.parts["name"]))


async def tag_image(call: Call) -> Answer:
    await tag.tag(call.engine, call.parts["name"], repo=call.query.text("repo"), tag=call.query.text("tag"))
    return empty(201)


async def remove_image(call: Call) -> Answer:
    name = call.parts["name"]
    if not name.strip():
        raise InvalidArgument("image name cannot be blank")
    flag = call.query.flag
    platforms = call.query.all("platforms") if call.version >= (1, 50) else ()
    removed = remove.remove(call.engine, name, force=flag("force"), noprune=flag("noprune"), platforms=platforms)
    return answer(await removed)


def _one_platform(call: Call) -> str:
    """Return the platform that a load or save is for, in JSON."""
    asked = call.query.all("platform") if call.version >= (1, 48) else ()
    if len(asked) > 1:
        raise InvalidArgument("multiple platform parameters not supported")
    return asked[0] if asked else ""


async def load_images(call: Call) -> Answer:
    platform = _one_platform(call)
    quiet = call.query.flag("quiet", default=True)
    progress = load.load(call.engine, call.upload(), quiet=quiet, platform=platform)
    return await send_progress(call, progress, early_errors=False)


async def save_images(call: Call) -> Answer:
    """Send the images of the path or of the query as an archive."""
    names = [call.parts["name"]] if "name" in call.parts else [*call.query.all("names")]
    platform = _one_platform(call)
    return await send_archive(call, save.save(call.engine, names, platform=platform), TAR)


async def create_image(call: Call) -> Answer:
    """Pull an image (`fromImage`) or import one from the body (`fromSrc=-`)."""
    source = call.query.text("fromSrc")
    platform = call.query.text("platform") if call.version >= (1, 32) else ""
    if name := call.query.text("fromImage"):
        auth = call.header("X-Registry-Auth")
        messages = pull.pull(call.engine, name, tag=call.query.text("tag"), platform=platform, auth=auth)
        return await send_progress(call, messages, early_errors=True)
    if source != "-":
        raise NotImplementedYet(
            "POST /images/create?fromSrc= is implemented for the request's body (fromSrc=-) only, not for addresses"
        )
    progress = imports.import_image(
        call.engine,
        call.upload(),
        repo=call.query.text("repo"),
        tag=call.query.text("tag"),
        message=call.query.text("message") or f"Imported from {source}",
        changes=[*call.query.all("changes")],
        platform=platform,
    )
    return await send_progress(call, progress, early_errors=True)


async def push_image(call: Call) -> Answer:
    platform = call.query.text("platform") if call.version >= (1, 46) else ""
    auth = call.header("X-Registry-Auth")
    name = call.parts["name"]
    messages = push.push(call.engine, name, tag=call.query.text("tag"), platform=platform, auth=auth)
    return await send_progress(call, messages, early_errors=True)


ROUTES = (
    Route("GET", "/images/json", list_images),
    Route("POST", "/images/create", create_image),
    Route("POST", "/images/load", load_images),
    Route("GET", "/images/get", save_images),
    Route("GET", "/images/{name}/get", save_images),
    Route("GET", "/images/{name}/json", inspect_image),
    Route("GET", "/images/{name}/history", show_history),
    Route("POST", "/images/{name}/tag", tag_image),
    Route("POST", "/images/{name}/push", push_image),
    Route("DELETE", "/images/{name}", remove_image),
)
