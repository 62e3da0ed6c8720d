from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from orlop.engine.containers import create, exec, inspect, remove, resize, start, stop, update
from orlop.engine.containers import list as listing
from orlop.errors import Conflict, NotFound, NotModified
from orlop.model.api.container import ContainerCreate
from support.wire import Fake, Wire, message

EVERY_ANSWER = ("api-version", "docker-experimental", "ostype", "server")


async def test_ping_has_every_header_that_clients_read(wire: Wire) -> None:
    for method in ("GET", "HEAD"):
        reply = await wire.request(method, "/_ping")
        assert reply.status == 200
        assert reply.body == (b"OK" if method == "GET" else b"")
        assert reply.headers["api-version"] == "1.51"
        assert reply.headers["builder-version"] == "1"
        assert reply.headers["swarm"] == "inactive"
        assert reply.headers["ostype"] == "linux"
        assert reply.headers["docker-experimental"] == "false"
        assert reply.headers["server"].startswith("Docker/")
        assert reply.headers["server"].endswith(" (linux)")
        assert reply.headers["cache-control"] == "no-cache, no-store, must-revalidate"
        assert reply.headers["pragma"] == "no-cache"
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("prefix", ["", "/v1.24", "/v1.41", "/v1.51"])
async def test_a_version_is_optional_and_old_ones_are_accepted(wire: Wire, prefix: str) -> None:
    assert (await wire.request("GET", f"{prefix}/_ping")).status == 200


@pytest.mark.parametrize(
    ("version", "text"),
    [
        (
            "1.10",
            "client version 1.10 is too old. Minimum supported API version is 1.24, "
            "please upgrade your client to a newer version",
        ),
        ("1.99", "client version 1.99 is too new. Maximum supported API version is 1.51"),
    ],
)
async def test_other_versions_are_refused_with_dockerds_text(wire: Wire, version: str, text: str) -> None:
    reply = await wire.request("GET", f"/v{version}/version")
    assert (reply.status, reply.message) == (400, text)
    assert set(EVERY_ANSWER) <= set(reply.headers)


@pytest.mark.parametrize(("method", "path"), [("GET", "/nowhere"), ("PUT", "/info"), ("GET", "/containers/x/start")])
async def test_an_unknown_route_or_method_is_page_not_found(wire: Wire, method: str, path: str) -> None:
    reply = await wire.request(method, path)
    assert (reply.status, reply.json()) == (404, {"message": "page not found"})


async def test_engine_errors_keep_status_and_text(wire: Wire, fake: Fake) -> None:
    fake(inspect, "inspect", NotFound("No such container: x"))
    reply = await wire.request("GET", "/v1.43/containers/x/json")
    assert (reply.status, reply.message) == (404, "No such container: x")
    assert reply.headers["content-type"] == "application/json"
    fake(remove, "remove", Conflict("cannot"))
    assert (await wire.request("DELETE", "/containers/x")).status == 409


async def test_unexpected_exceptions_are_500_with_a_logged_traceback(
    wire: Wire, fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    fake(inspect, "inspect", ZeroDivisionError("division by zero"))
    with caplog.at_level(logging.ERROR):
        reply = await wire.request("GET", "/containers/x/json")
    assert (reply.status, reply.message) == (500, "division by zero")
    assert "ZeroDivisionError" in caplog.text


async def test_answers_without_a_body_have_none_and_the_connection_goes_on(wire: Wire, fake: Fake) -> None:
    calls = fake(start, "start", NotModified("already started"))
    reply = await wire.request("POST", "/containers/x/start")
    assert (reply.status, reply.body, reply.headers.get("content-length", "0")) == (304, b"", "0")
    fake(stop, "stop")
    assert (await wire.request("POST", "/containers/x/stop?t=3")).status == 204
    assert (await wire.request("GET", "/_ping")).body == b"OK"
    assert len(calls.seen) == 1


async def test_names_with_slashes_and_escapes_are_whole(wire: Wire, fake: Fake) -> None:
    from orlop.engine.images import inspect as image

    calls = fake(image, "inspect", {"Id": "sha256:1"})
    for path in ("library/busybox", "library%2Fbusybox"):
        assert (await wire.request("GET", f"/images/{path}/json")).status == 200
        assert calls.last["0"] == "library/busybox"


async def test_a_name_that_is_no_utf8_is_an_ordinary_name(wire: Wire, fake: Fake) -> None:
    fake(inspect, "inspect", NotFound("No such container: \udcff"))
    assert (await wire.request("GET", "/containers/%ff/json")).status == 404
    await wire.send(b"GET /containers/\xff/json HTTP/1.1\r\nHost: d\r\n\r\n")
    assert (await wire.reply()).status in (400, 404)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("True", True), ("yes", True), ("0", False), ("False", False), ("None", False), ("", False)],
)
async def test_truth_values_of_a_query_are_dockers(wire: Wire, fake: Fake, text: str, value: bool) -> None:
    calls = fake(listing, "list_containers", [])
    assert (await wire.request("GET", f"/containers/json?all={text}")).status == 200
    assert calls.last["all"] is value


async def test_numbers_of_a_query_are_checked(wire: Wire, fake: Fake) -> None:
    fake(stop, "stop")
    fake(resize, "resize")
    reply = await wire.request("POST", "/containers/x/stop?t=soon")
    assert (reply.status, reply.message) == (400, 'strconv.Atoi: parsing "soon": invalid syntax')
    reply = await wire.request("POST", "/containers/x/resize?h=&w=80")
    assert (reply.status, reply.message) == (400, 'invalid resize height "": invalid syntax')
    reply = await wire.request("POST", "/containers/x/resize?h=24&w=-1")
    assert (reply.status, reply.message) == (400, 'invalid resize width "-1": value out of range')
    assert (await wire.request("POST", "/containers/x/resize?h=24&w=80")).status == 200


async def test_unknown_filters_are_refused(wire: Wire, fake: Fake) -> None:
    fake(listing, "list_containers", [])
    reply = await wire.request("GET", '/containers/json?filters={"colour":["red"]}')
    assert (reply.status, reply.message) == (400, "invalid filter 'colour'")


async def test_create_returns_id_and_warnings(wire: Wire, fake: Fake) -> None:
    calls = fake(create, "create", ("ab" * 32, ["careful"]))
    reply = await wire.request("POST", "/v1.51/containers/create?name=web", {"Image": "busybox", "cmd": "ls"})
    assert (reply.status, reply.json()) == (201, {"Id": "ab" * 32, "Warnings": ["careful"]})
    assert calls.last["name"] == "web"
    asked = calls.last["body"]
    assert isinstance(asked, ContainerCreate)
    assert (asked.image, asked.cmd) == ("busybox", ["ls"])
    assert asked.host_config
    assert asked.host_config.network_mode == "bridge"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "invalid JSON: got EOF while reading request body"),
        (b"{", "invalid JSON: "),
        (b"{} {}", "unexpected content after JSON"),
        (b"[]", "invalid JSON: Expected `object`, got `array`"),
        (b"{}", "config cannot be empty in order to create a container"),
        (b'{"HostConfig":{}}', "config cannot be empty in order to create a container"),
        (b'{"Image":"x","HostConfig":{"Memory":"1"}}', "$.HostConfig.Memory"),
        (b'{"Image":"x","Env":"A=1"}', "$.Env"),
        (b'{"Image":"x","HostConfig":{"Memory":1e400}}', "invalid JSON: "),
        (b'{"Image":"x","HostConfig":{"CpuShares":9223372036854775808}}', "$.HostConfig.CpuShares"),
        (b'{"Image":"\xff"}', "invalid JSON: "),
        (b'{"Image":"\\ud800"}', "invalid JSON: "),
    ],
)
async def test_a_wrong_body_is_400_and_names_the_field(wire: Wire, fake: Fake, body: bytes, text: str) -> None:
    fake(create, "create", ("ab" * 32, []))
    reply = await wire.request("POST", "/containers/create", body)
    assert reply.status == 400
    assert text in reply.message


async def test_content_types_are_checked_as_dockerd_does(wire: Wire, fake: Fake) -> None:
    fake(create, "create", ("ab" * 32, []))
    reply = await wire.request("POST", "/containers/create", {"Image": "x"}, {"Content-Type": "text/plain"})
    assert (reply.status, reply.message) == (
        400,
        "unsupported Content-Type header (text/plain): must be 'application/json'",
    )
    json_with_charset = {"Content-Type": "application/json; charset=utf-8"}
    assert (await wire.request("POST", "/containers/create", {"Image": "x"}, json_with_charset)).status == 201


async def test_a_body_is_bounded(wire: Wire, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orlop.api.body.MAX_BODY", 1000)
    fake(create, "create", ("ab" * 32, []))
    reply = await wire.request("POST", "/containers/create", {"Image": "x" * 2000})
    assert (reply.status, reply.message) == (400, "request body is larger than 1000 bytes")


async def test_an_empty_body_is_accepted_where_dockerd_does(wire: Wire, fake: Fake) -> None:
    calls = fake(update, "update", [])
    assert (await wire.request("POST", "/containers/x/update")).json() == {"Warnings": []}
    assert len(calls.seen) == 1


async def test_a_start_with_a_body_is_refused(wire: Wire, fake: Fake) -> None:
    fake(start, "start")
    reply = await wire.request("POST", "/containers/x/start", {"Binds": ["/:/host"]})
    assert reply.status == 400
    assert "removed in v1.24" in reply.message
    assert (await wire.request("POST", "/containers/x/start", {})).status == 204


async def test_a_call_that_was_begun_is_finished_though_its_client_goes(served: Path, fake: Fake) -> None:
    began, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(*_: Any, **__: Any) -> None:
        began.set()
        await go_on.wait()
        await asyncio.sleep(0)
        done.set()

    fake(start, "start", slow)
    wire = await Wire.open(served)
    await wire.send(message("POST", "/containers/x/start"))
    await began.wait()
    await wire.close()
    other = await Wire.open(served)
    for _ in range(3):
        assert (await other.request("GET", "/_ping")).status == 200
    go_on.set()
    await asyncio.wait_for(done.wait(), 10)
    await other.close()


async def test_no_swarm_is_503_with_dockerds_text(wire: Wire) -> None:
    for method, path in (("GET", "/swarm"), ("GET", "/services"), ("POST", "/secrets/create"), ("GET", "/nodes/x")):
        reply = await wire.request(method, path, {} if method == "POST" else None)
        assert reply.status == 503
        assert reply.message == (
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" '
            "to connect this node to swarm and try again."
        )


async def test_routes_that_are_still_to_come_say_their_name(wire: Wire) -> None:
    reply = await wire.request("POST", "/v1.51/networks/create", b"")
    assert (reply.status, reply.message) == (501, "POST /networks/create is not implemented by this version of Orlop")
    reply = await wire.request("PUT", "/containers/a/archive?path=/", b"")
    assert "PUT /containers/{id}/archive" in reply.message


async def test_what_is_not_http_is_refused(served: Path) -> None:
    wire = await Wire.open(served)
    await wire.send(b"GET\r\n\r\n")
    reply = await wire.reply()
    assert reply.status == 400
    assert reply.message
    assert await wire.rest() == b""
    await wire.close()


async def test_expect_continue_is_answered(wire: Wire, fake: Fake) -> None:
    fake(create, "create", ("ab" * 32, []))
    request = message("POST", "/containers/create", {"Image": "x"}, {"Expect": "100-continue"})
    head, _, body = request.partition(b"\r\n\r\n")
    await wire.send(head + b"\r\n\r\n")
    assert (await wire.head()).status == 100
    await wire.send(body)
    assert (await wire.reply()).status == 201


async def test_requests_that_follow_unanswered_ones_are_answered_in_order(wire: Wire, fake: Fake) -> None:
    fake(exec, "inspect", {"ID": "e"})
    await wire.send(message("GET", "/_ping") + message("GET", "/exec/e/json") + message("GET", "/nowhere"))
    assert [(await wire.reply()).status for _ in range(3)] == [200, 200, 404]


async def test_there_are_no_plugins(wire: Wire) -> None:
    assert (await wire.request("GET", "/plugins")).json() == []
    reply = await wire.request("GET", "/plugins/x/json")
    assert (reply.status, reply.message) == (404, 'plugin "x" not found')
