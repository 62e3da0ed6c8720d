"""Devices of a container: nodes, rules, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from orlop.errors import Internal, InvalidArgument
from orlop.model.api.container import DeviceMapping, DeviceRequest, HostConfig
from orlop.runtime import devices
from orlop.runtime.devices import DEFAULT_RULES, HostDevice

FUSE = HostDevice("/dev/fuse", "c", 10, 229, 0o666)
DISK = HostDevice("/dev/block/sda", "b", 8, 0, 0o660, 0, 6)
PART = HostDevice("/dev/block/sub/sda1", "b", 8, 1, 0o660, 0, 6)
HOST = {"/dev/fuse": [FUSE], "/dev/block": [DISK, PART], "/dev": [FUSE, DISK, PART], "/dev/empty": []}


def lister(path: str) -> Sequence[HostDevice]:
    if path not in HOST:
        raise FileNotFoundError(2, "No such file or directory", path)
    return HOST[path]


def mapping(host: str, inside: str = "", access: str = "") -> DeviceMapping:
    return DeviceMapping(path_on_host=host, path_in_container=inside, cgroup_permissions=access)


def test_without_devices_there_are_only_the_rules_of_every_container() -> None:
    assert devices.plan(HostConfig(), lister) == ([], list(DEFAULT_RULES))


def test_a_device_gets_a_node_and_a_rule() -> None:
    nodes, rules = devices.plan(HostConfig(devices=[mapping("/dev/fuse", "/dev/other", "r")]), lister)
    assert nodes == [
        {"path": "/dev/other", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666, "uid": 0, "gid": 0}
    ]
    assert rules[len(DEFAULT_RULES) :] == [{"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"}]


def test_a_directory_stands_for_all_devices_below_it() -> None:
    nodes, rules = devices.plan(HostConfig(devices=[mapping("/dev/block/", "/dev/x")]), lister)
    assert [node["path"] for node in nodes] == ["/dev/x/sda", "/dev/x/sub/sda1"]
    assert [rule["access"] for rule in rules[len(DEFAULT_RULES) :]] == ["rwm", "rwm"]


def test_a_privileged_container_has_every_device_and_no_rules() -> None:
    host = HostConfig(privileged=True, devices=[mapping("/dev/fuse", "/dev/fuse"), mapping("/dev/fuse", "/dev/f2")])
    nodes, rules = devices.plan(host, lister)
    assert [node["path"] for node in nodes] == ["/dev/fuse", "/dev/block/sda", "/dev/block/sub/sda1", "/dev/f2"]
    assert rules == [{"allow": True, "access": "rwm"}]


def test_cgroup_rules_come_last_in_their_order() -> None:
    host = HostConfig(device_cgroup_rules=["c 189:* rmw", "b *:7 r"])
    assert devices.plan(host, lister)[1][len(DEFAULT_RULES) :] == [
        {"allow": True, "type": "c", "major": 189, "access": "rwm"},
        {"allow": True, "type": "b", "minor": 7, "access": "r"},
    ]


@pytest.mark.parametrize("rule", ["", "c 1:3", "x 1:3 r", "c 1:3 rx", "c a:b r", "c 1:3 r ", "c 4294967296:0 r"])
def test_a_rule_that_is_none_is_refused(rule: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        devices.check(HostConfig(device_cgroup_rules=[rule]))
    assert raised.value.message == f"invalid device cgroup rule format: '{rule}'"


@pytest.mark.parametrize(
    ("path", "reason"), [("/dev/none", "no such file or directory"), ("/dev/empty", "not a device node")]
)
def test_a_device_that_is_not_there_is_named(path: str, reason: str) -> None:
    with pytest.raises(Internal) as raised:
        devices.plan(HostConfig(devices=[mapping(path)]), lister)
    assert raised.value.message == f'error gathering device information while adding custom device "{path}": {reason}'


def test_requests_to_drivers_are_refused_in_dockerds_words() -> None:
    host = HostConfig(device_requests=[DeviceRequest(count=-1, capabilities=[["gpu", "nvidia"], ["compute"]])])
    with pytest.raises(Internal) as raised:
        devices.plan(host, lister)
    assert raised.value.message == ('could not select device driver "" with capabilities: [[gpu nvidia] [compute]]')


def test_the_host_is_read_as_it_is() -> None:
    (null,) = devices.host_devices("/dev/null")
    assert (null.type, null.major, null.minor) == ("c", 1, 3)
    assert devices.number("/dev/null") == (1, 3)
    paths = [device.path for device in devices.host_devices("/dev")]
    assert "/dev/null" in paths
    assert not any(path.startswith("/dev/pts/") or path in ("/dev/console", "/dev/ptmx") for path in paths)
    with pytest.raises(OSError, match="not a device node"):
        devices.host_devices(os.__file__)
