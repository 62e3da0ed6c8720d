"""Ports, mounts, networks and other values of `run`."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.cli.create import values
from orlop.cli.create.mounts import parse_mount, parse_volumes
from orlop.cli.create.networks import parse_network
from orlop.cli.create.ports import expose, parse_ports, port_range

ports = st.integers(0, 0xFFFF)


@given(
    ports,
    st.integers(0, 20),
    ports,
    st.sampled_from(["tcp", "udp", "sctp"]),
    st.sampled_from(["", "1.2.3.4", "[::1]", "::1"]),
)
def test_a_range_is_published_port_by_port(first: int, more: int, host: int, protocol: str, address: str) -> None:
    more = min(more, 0xFFFF - max(first, host))
    place = f"{address}:" if address else ""
    exposed, bindings = parse_ports([f"{place}{host}-{host + more}:{first}-{first + more}/{protocol}"])
    assert list(exposed) == list(bindings) == [f"{first + n}/{protocol}" for n in range(more + 1)]
    bare = address.strip("[]")
    assert [binding for found in bindings.values() for binding in found] == [
        {"HostIp": bare, "HostPort": str(host + n)} for n in range(more + 1)
    ]


@given(st.text(alphabet="0123456789:/-[].abtcpud", max_size=20))
def test_hostile_ports_raise_value_errors_only(text: str) -> None:
    for parse in (lambda: parse_ports([text]), lambda: expose([text], {}), lambda: port_range(text)):
        try:
            parse()
        except ValueError:
            pass


def test_one_container_port_takes_any_of_a_range_of_the_host() -> None:
    assert parse_ports(["8000-8010:80"])[1] == {"80/tcp": [{"HostIp": "", "HostPort": "8000-8010"}]}
    assert parse_ports(["80", "127.0.0.1::80"])[1]["80/tcp"] == [
        {"HostIp": "", "HostPort": ""},
        {"HostIp": "127.0.0.1", "HostPort": ""},
    ]


@given(st.text(max_size=30), st.text(max_size=10))
def test_hostile_mounts_raise_value_errors_only(text: str, value: str) -> None:
    for spec in (text, f"type=bind,target=/x,{text}", f'type=volume,target="{value}",source={text}'):
        try:
            mount = parse_mount(spec)
        except ValueError:
            continue
        assert mount["Target"]
    try:
        parse_volumes([text, value])
    except ValueError:
        pass
    try:
        parse_network(text)
    except ValueError:
        pass


def test_mounts_keep_commas_in_quotes_and_make_paths_absolute() -> None:
    mount = parse_mount('type=volume,target=/x,"volume-opt=o=a,b",volume-opt=type=nfs')
    assert mount["VolumeOptions"]["DriverConfig"]["Options"] == {"o": "a,b", "type": "nfs"}
    assert parse_mount("type=bind,src=./a/../b,dst=/x")["Source"] == os.path.join(os.getcwd(), "b")
    assert parse_mount("dst=/x,readonly=false") == {"Type": "volume", "Target": "/x", "ReadOnly": False}


def test_volumes_are_sorted_into_binds_and_anonymous_ones() -> None:
    binds, anonymous = parse_volumes(["/a:/b:ro", "./c:/d", "name:/e", "/f", "/a:/b:ro"])
    assert binds == ["/a:/b:ro", f"{os.getcwd()}/c:/d", "name:/e"]
    assert anonymous == {"/f": {}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("net", {"name": "net"}),
        ("container:web", {"name": "container:web"}),
        (
            "name=n,alias=A,ip=10.0.0.1,driver-opt=K=V,gw-priority=-3",
            {
                "name": "n",
                "alias": ["a"],
                "link-local-ip": [],
                "driver-opt": {"k": "v"},
                "ip": "10.0.0.1",
                "gw-priority": -3,
            },
        ),
    ],
)
def test_networks_in_both_forms(text: str, expected: dict[str, object]) -> None:
    assert parse_network(text) == expected


def test_environment_takes_values_from_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "1")
    monkeypatch.delenv("GONE", raising=False)
    assert [values.environment(text) for text in ("A=b", "HERE", "GONE", "E=")] == ["A=b", "HERE=1", "GONE", "E="]


def test_devices_and_limits() -> None:
    assert values.device("/dev/a:r") == {"PathOnHost": "/dev/a", "PathInContainer": "/dev/a", "CgroupPermissions": "r"}
    assert values.device("/dev/a:/dev/b")["PathInContainer"] == "/dev/b"
    assert values.ulimit("nofile=5") == {"Name": "nofile", "Hard": 5, "Soft": 5}
    assert values.ulimit("core=-1:-1") == {"Name": "core", "Hard": -1, "Soft": -1}
    assert values.throttle_bytes("/dev/a:1kb") == {"Path": "/dev/a", "Rate": 1024}
    assert values.gpus("device=0") == {
        "Driver": "",
        "Count": 0,
        "DeviceIDs": ["0"],
        "Capabilities": [["gpu"]],
        "Options": {},
    }
    assert values.restart_policy("on-failure:5") == {"Name": "on-failure", "MaximumRetryCount": 5}
    assert values.add_host("a=[::1]") == "a:::1"
    assert values.is_mac_address("02:42:ac:11:00:02")
    assert not values.is_mac_address("02:42:ac-11:00:02")
