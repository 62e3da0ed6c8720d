"""The API on a real engine: hostile bodies, streams that are left, versions that differ."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orlop.model.api.container import ContainerConfig, HostConfig, Mount
from support.daemon import Daemon

pytestmark = pytest.mark.root

scalars = st.none() | st.booleans() | st.integers(-2, 70000) | st.text(max_size=6) | st.sampled_from(["/", "a:b", "\0"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
mounts = st.lists(st.dictionaries(st.sampled_from(Mount.__struct_encode_fields__), values, max_size=4), max_size=2)
host_configs = st.dictionaries(st.sampled_from(HostConfig.__struct_encode_fields__), values, max_size=5)
bodies = st.builds(
    lambda config, host, mounted: {**config, "Image": "busybox", "HostConfig": {**host, **mounted}},
    st.dictionaries(st.sampled_from(ContainerConfig.__struct_encode_fields__), values, max_size=5),
    host_configs,
    st.just({}) | st.builds(lambda found: {"Mounts": found}, mounts),
)


@pytest.mark.usefixtures("image")
def test_no_body_of_a_creation_is_a_server_error(orlopd: Daemon) -> None:
    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(bodies)
    def attempt(body: dict[str, Any]) -> None:
        status, answer = orlopd.request("POST", "/containers/create", body)
        assert status < 500, answer
        if status == 201:
            created = json.loads(answer)["Id"]
            assert orlopd.request("GET", f"/containers/{created}/json")[0] == 200
            assert orlopd.request("DELETE", f"/containers/{created}?v=1&force=1")[0] == 204

    attempt()


@pytest.fixture
def container(orlopd: Daemon, image: str) -> Iterator[str]:
    """A container that runs."""
    body = {"Image": image, "Cmd": ["sh", "-c", "echo hello; exec sleep 1000"]}
    created = str(orlopd.json("POST", "/containers/create", body)["Id"])
    orlopd.json("POST", f"/containers/{created}/start")
    yield created
    orlopd.request("DELETE", f"/containers/{created}?force=1")


def test_a_missing_or_ended_partner_is_never_taken_for_a_missing_image(orlopd: Daemon, image: str) -> None:
    ended = str(orlopd.json("POST", "/containers/create?name=ended", {"Image": image, "Cmd": ["true"]})["Id"])
    for mode in ("PidMode", "IpcMode"):
        body = {"Image": image, "Cmd": ["true"], "HostConfig": {mode: "container:nobody"}}
        answered, answer = orlopd.request("POST", "/containers/create", body)
        assert (answered, json.loads(answer)["message"]) == (400, "No such container: nobody")
    missing = "joining network namespace of container: No such container: nobody"
    stopped = "failed to join {} namespace: container " + ended + " is not running"
    for mode, partner, status, message in (
        ("NetworkMode", "nobody", 500, missing),
        ("PidMode", "ended", 500, stopped.format("PID")),
        ("IpcMode", "ended", 500, stopped.format("IPC")),
    ):
        body = {"Image": image, "Cmd": ["true"], "HostConfig": {mode: f"container:{partner}"}}
        created = orlopd.json("POST", "/containers/create", body)["Id"]
        answered, answer = orlopd.request("POST", f"/containers/{created}/start")
        assert (answered, json.loads(answer)["message"]) == (status, message)
        orlopd.request("DELETE", f"/containers/{created}")
    body = {"Image": image, "Cmd": ["true"], "HostConfig": {"Links": ["ended:e"]}}
    orlopd.json("POST", "/containers/create?name=linked", body)
    answered, answer = orlopd.request("POST", "/containers/linked/start")
    assert (answered, json.loads(answer)["message"]) == (
        400,
        "Cannot link to a non running container: /ended AS /linked/e",
    )
    for name in ("linked", ended):
        orlopd.request("DELETE", f"/containers/{name}")


@pytest.mark.parametrize("shared", ["host", "none"])
def test_a_network_that_bears_no_other_is_refused_beside_one(orlopd: Daemon, image: str, shared: str) -> None:
    body = {
        "Image": image,
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkingConfig": {"EndpointsConfig": {"bridge": {}, shared: {}}},
    }
    status, answer = orlopd.request("POST", "/containers/create", body)
    assert status == 400
    assert "cannot be connected to" in json.loads(answer)["message"]


QUERIES = ("since", "until", "tail", "limit", "filters", "all", "size", "stdout", "timestamps", "details")


def test_no_query_is_a_server_error(orlopd: Daemon, container: str) -> None:
    routes = ["json", f"{container}/logs", f"{container}/json"]

    @settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(routes),
        st.dictionaries(
            st.sampled_from(QUERIES),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(["1", "-1", '{"a":["b"]}']),
        ),
    )
    def attempt(route: str, query: dict[str, str]) -> None:
        text = "&".join(f"{name}={quote(value)}" for name, value in query.items())
        status, answer = orlopd.request("GET", f"/containers/{route}?{text}")
        assert status < 500, answer

    attempt()


def test_streams_that_are_left_leave_nothing_behind(orlopd: Daemon, container: str) -> None:
    """The module's clean-up compares descriptors before and after."""
    for request in (
        f"GET /containers/{container}/logs?stdout=1&follow=1",
        f"GET /containers/{container}/stats",
        "GET /events",
        f"POST /containers/{container}/wait",
        f"POST /containers/{container}/attach?stream=1",
    ):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(orlopd.socket))
            client.sendall(f"{request} HTTP/1.1\r\nHost: d\r\n\r\n".encode())
            assert client.recv(20).startswith(b"HTTP/1.1 200")


def test_an_answer_differs_by_version(orlopd: Daemon, container: str, image: str) -> None:
    def images(version: str) -> dict[str, Any]:
        return {found["Id"]: found for found in orlopd.json("GET", f"/v{version}/images/json")}

    identity = orlopd.json("GET", f"/images/{image}/json")["Id"]
    new, old = images("1.51")[identity], images("1.40")[identity]
    assert "VirtualSize" not in new
    assert (old["VirtualSize"], old["Containers"]) == (old["Size"], -1)
    assert "ContainerConfig" in orlopd.json("GET", f"/v1.44/images/{image}/json")
    assert "ContainerConfig" not in orlopd.json("GET", f"/v1.45/images/{image}/json")


def test_networks_that_are_predefined_can_be_looked_at(orlopd: Daemon, container: str) -> None:
    found = {network["Name"]: network for network in orlopd.json("GET", "/networks")}
    assert set(found) == {"bridge", "host", "none"}
    bridge = orlopd.json("GET", f"/networks/{found['bridge']['Id'][:12]}")
    address = orlopd.json("GET", f"/containers/{container}/json")["NetworkSettings"]["IPAddress"]
    assert bridge["Containers"][container]["IPv4Address"].startswith(f"{address}/")
    assert orlopd.request("DELETE", f"/containers/{container}?force=1")[0] == 204
    assert orlopd.json("GET", "/networks/bridge")["IPAM"] == bridge["IPAM"]  # with and without containers
    (pool,) = bridge["IPAM"]["Config"]
    assert ip_address(pool["Gateway"]) in ip_network(pool["Subnet"])
    status, answer = orlopd.request("GET", "/networks/elsewhere")
    assert (status, json.loads(answer)) == (404, {"message": "network elsewhere not found"})
    (only,) = orlopd.json("GET", "/networks?filters=" + quote('{"driver":["null"]}'))
    assert only["Name"] == "none"


def test_many_calls_at_once_are_all_answered(orlopd: Daemon, container: str) -> None:
    statuses: list[int] = []

    def client() -> None:
        for _ in range(20):
            statuses.append(orlopd.request("GET", f"/containers/{container}/json")[0])

    threads = [threading.Thread(target=client) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert statuses == [200] * 200
