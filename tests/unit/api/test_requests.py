from __future__ import annotations

from typing import Any

import msgspec
import pytest

from orlop.api import requests
from orlop.api.versions import Version
from orlop.errors import InvalidArgument
from orlop.model.api.container import ContainerCreate, ContainerUpdate, EndpointSettings, HostConfig
from orlop.model.api.exec import ExecCreate, ExecStart

NOW = (1, 51)


def create(
    version: Version = NOW, cgroup_v1: bool = False, **fields: Any
) -> tuple[ContainerCreate, HostConfig, list[str]]:
    body = msgspec.convert({"Image": "x", **fields}, ContainerCreate)
    body, warnings = requests.create(body, version, cgroup_v1=cgroup_v1)
    assert body.host_config
    return body, body.host_config, warnings


def endpoints(body: ContainerCreate) -> dict[str, EndpointSettings | None]:
    return (body.networking_config and body.networking_config.endpoints_config) or {}


def test_the_default_network_is_the_bridge_under_any_name() -> None:
    for mode in ("", "default"):
        body, host, _ = create(
            HostConfig={"NetworkMode": mode}, NetworkingConfig={"EndpointsConfig": {"default": {"Aliases": ["a"]}}}
        )
        assert host.network_mode == "bridge"
        settings = endpoints(body)["bridge"]
        assert settings
        assert settings.aliases == ["a"]
    assert create(HostConfig={"NetworkMode": "host"})[1].network_mode == "host"


def test_old_clients_get_the_defaults_of_their_version() -> None:
    _, host, _ = create((1, 39), cgroup_v1=True, HostConfig={"AutoRemove": True, "KernelMemoryTCP": 5})
    assert (host.ipc_mode, host.cgroupns_mode, host.kernel_memory_tcp, host.auto_remove) == (
        "shareable",
        "host",
        0,
        True,
    )
    _, host, _ = create((1, 24), HostConfig={"AutoRemove": True})
    assert (host.cgroupns_mode, host.auto_remove) == ("", False)
    assert create((1, 41), cgroup_v1=True)[1].cgroupns_mode == ""


def test_mount_options_of_another_kind_are_dropped_or_refused() -> None:
    mount = {"Type": "bind", "Source": "/a", "Target": "/b", "VolumeOptions": {"NoCopy": True}}
    _, host, _ = create((1, 41), HostConfig={"Mounts": [mount]})
    assert host.mounts
    assert host.mounts[0].volume_options is None
    with pytest.raises(InvalidArgument, match='VolumeOptions must not be specified on mount type "bind"'):
        create(HostConfig={"Mounts": [mount]})


def test_read_only_mounts_of_old_clients_are_not_recursive() -> None:
    mount = {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True}
    _, host, _ = create((1, 43), HostConfig={"Mounts": [mount]})
    assert host.mounts
    assert host.mounts[0].bind_options
    assert host.mounts[0].bind_options.read_only_non_recursive
    mount["BindOptions"] = {"ReadOnlyForceRecursive": True}
    with pytest.raises(InvalidArgument, match=r"needs API v1\.44"):
        create((1, 43), HostConfig={"Mounts": [mount]})


@pytest.mark.parametrize(
    ("version", "mount", "text"),
    [
        ((1, 44), {"Type": "volume", "VolumeOptions": {"Subpath": "a"}}, "VolumeOptions.Subpath needs API v1.45"),
        ((1, 47), {"Type": "image"}, 'Mount type "Image" needs API v1.48'),
    ],
)
def test_what_a_version_cannot_do_is_refused(version: Version, mount: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        create(version, HostConfig={"Mounts": [mount]})
    create(NOW, HostConfig={"Mounts": [mount]})


def test_several_networks_need_1_44() -> None:
    networks: dict[str, Any] = {"EndpointsConfig": {"a": {}, "b": None}}
    with pytest.raises(InvalidArgument, match="Container cannot be created with multiple network endpoints: a, b"):
        create((1, 43), NetworkingConfig=networks)
    assert set(endpoints(create(NetworkingConfig=networks)[0])) == {"a", "b"}


def test_the_mac_address_of_a_container_becomes_its_endpoints() -> None:
    body, _, warnings = create(MacAddress="02:00:00:00:00:01")
    settings = endpoints(body)["bridge"]
    assert settings
    assert (settings.mac_address, body.mac_address) == ("02:00:00:00:00:01", "")
    assert "MacAddress field is now deprecated" in warnings[0]
    body, _, warnings = create((1, 43), MacAddress="02:00:00:00:00:01")
    settings = endpoints(body)["bridge"]
    assert settings
    assert (settings.mac_address, warnings) == ("02:00:00:00:00:01", [])
    with pytest.raises(InvalidArgument, match="conflicting options: mac-address and the network mode"):
        create((1, 43), MacAddress="02:00:00:00:00:01", HostConfig={"NetworkMode": "host"})
    with pytest.raises(InvalidArgument, match="must match the endpoint-specific MAC address"):
        create(MacAddress="02:00:00:00:00:01", NetworkingConfig={"EndpointsConfig": {"bridge": {"MacAddress": "x"}}})


def test_limits_that_mean_no_limit_are_none() -> None:
    assert create(HostConfig={"PidsLimit": -1})[1].pids_limit is None
    assert create(HostConfig={"PidsLimit": 7})[1].pids_limit == 7
    assert requests.update(ContainerUpdate(pids_limit=-1), NOW).pids_limit == 0
    assert requests.update(ContainerUpdate(pids_limit=5), (1, 39)).pids_limit is None


def test_exec_needs_a_command_and_a_terminal_for_its_size() -> None:
    with pytest.raises(InvalidArgument, match="No exec command specified"):
        requests.exec_create(ExecCreate(), NOW)
    assert requests.exec_create(ExecCreate(cmd=["ls"], console_size=[1, 2]), (1, 41)).console_size is None
    assert requests.exec_start(ExecStart(console_size=[1, 2]), NOW).console_size is None
    assert requests.exec_start(ExecStart(console_size=[1, 2], tty=True), NOW).console_size == [1, 2]
