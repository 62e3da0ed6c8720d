"""What clients ask, brought to the meaning of the newest version: pure functions from a body to a body.

An option that a version did not know is dropped when a client of an older one sends it, or refused where silence could
hurt; what a version meant by leaving an option out is written out. Each rule is that of dockerd 28.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from orlop.api.versions import Version
from orlop.errors import InvalidArgument
from orlop.model.api.container import (
    BindOptions,
    ContainerCreate,
    ContainerUpdate,
    EndpointSettings,
    HostConfig,
    Mount,
    NetworkingConfig,
)
from orlop.model.api.exec import ExecCreate, ExecStart

__all__ = ["create", "exec_create", "exec_start", "update"]

_PREDEFINED = ("", "none", "host", "bridge", "default")
_OWN_OPTIONS = {"bind_options": "bind", "volume_options": "volume", "tmpfs_options": "tmpfs", "image_options": "image"}
_OPTION_NAMES = {"bind_options": "BindOptions", "volume_options": "VolumeOptions", "tmpfs_options": "TmpfsOptions"}


@dataclass(slots=True)
class _Creation:
    """A creation request on its way through the rules."""

    body: ContainerCreate
    host: HostConfig
    endpoints: dict[str, EndpointSettings]
    warnings: list[str] = field(default_factory=list)

    def change_host(self, **changes: Any) -> None:
        self.host = replace(self.host, **changes)

    def change_mounts(self, **options: Any) -> None:
        """Set fields of the bind options of every bind mount that has some."""
        mounts = self.host.mounts or []
        self.change_host(
            mounts=[
                replace(mount, bind_options=replace(mount.bind_options, **options)) if mount.bind_options else mount
                for mount in mounts
            ]
        )


def create(body: ContainerCreate, version: Version, *, cgroup_v1: bool) -> tuple[ContainerCreate, list[str]]:
    """Return the body of `POST /containers/create` in today's meaning, and warnings. Raises `InvalidArgument`."""
    asked = body.networking_config.endpoints_config if body.networking_config else None
    endpoints = {name: settings or EndpointSettings() for name, settings in (asked or {}).items()}
    creation = _Creation(body, body.host_config or HostConfig(), endpoints)
    _default_network(creation)
    _before_1_42(creation, version, cgroup_v1)
    if version >= (1, 42):
        _check_mount_options(creation.host.mounts or [])
    _before_1_48(creation, version)
    _warn_of_volume_driver(creation, version)
    _move_mac_address(creation, version)
    if creation.host.pids_limit is not None and creation.host.pids_limit <= 0:
        creation.change_host(pids_limit=None)
    networking = NetworkingConfig(endpoints_config=dict(creation.endpoints)) if creation.endpoints else None
    return replace(creation.body, host_config=creation.host, networking_config=networking), creation.warnings


def update(body: ContainerUpdate, version: Version) -> ContainerUpdate:
    """Return the body of `POST /containers/{id}/update` in today's meaning."""
    if version < (1, 40):
        body = replace(body, pids_limit=None)
    if version >= (1, 42):
        body = replace(body, kernel_memory=0)
    if body.pids_limit is not None and body.pids_limit <= 0:
        body = replace(body, pids_limit=0)
    return body


def exec_create(body: ExecCreate, version: Version) -> ExecCreate:
    """Return the body of `POST /containers/{id}/exec` in today's meaning. Raises `InvalidArgument`."""
    if not body.cmd:
        raise InvalidArgument("No exec command specified")
    return replace(body, console_size=None) if version < (1, 42) else body


def exec_start(body: ExecStart, version: Version) -> ExecStart:
    """Return the body of `POST /exec/{id}/start` in today's meaning."""
    return replace(body, console_size=None) if version < (1, 42) or not body.tty else body


def _default_network(creation: _Creation) -> None:
    """The mode "default" stands for the default network of the platform, which is the bridge here."""
    if creation.host.network_mode not in ("", "default"):
        return
    creation.change_host(network_mode="bridge")
    if "default" in creation.endpoints:
        creation.endpoints["bridge"] = creation.endpoints.pop("default")


def _before_1_42(creation: _Creation, version: Version, cgroup_v1: bool) -> None:
    if version < (1, 25):  # the client removes the container
        creation.change_host(auto_remove=False)
    if version < (1, 40):
        creation.change_mounts(non_recursive=False)
        creation.change_host(kernel_memory_tcp=0, ipc_mode=creation.host.ipc_mode or "shareable")
    if version < (1, 41) and cgroup_v1:
        creation.change_host(cgroupns_mode=creation.host.cgroupns_mode or "host")
    if version < (1, 42):
        creation.change_mounts(create_mountpoint=False)
        mounts = [_without_strange_options(mount) for mount in creation.host.mounts or []]
        creation.change_host(mounts=mounts, console_size=[0, 0])


def _without_strange_options(mount: Mount) -> Mount:
    strange = [name for name in ("volume_options", "tmpfs_options") if mount.type != _OWN_OPTIONS[name]]
    return replace(mount, **dict.fromkeys(strange))


def _check_mount_options(mounts: list[Mount]) -> None:
    for mount in mounts:
        for name, title in _OPTION_NAMES.items():
            if getattr(mount, name) is not None and mount.type != _OWN_OPTIONS[name]:
                raise InvalidArgument(f'{title} must not be specified on mount type "{mount.type}"')


def _before_1_48(creation: _Creation, version: Version) -> None:
    mounts = creation.host.mounts or []
    if version < (1, 43):
        creation.change_host(annotations=None)
    if version < (1, 44):
        if creation.body.healthcheck:
            healthcheck = replace(creation.body.healthcheck, start_interval=0)
            creation.body = replace(creation.body, healthcheck=healthcheck)
        creation.change_host(mounts=[_plain_read_only(mount) for mount in mounts])
        if len(creation.endpoints) > 1:
            names = ", ".join(creation.endpoints)
            raise InvalidArgument(f"Container cannot be created with multiple network endpoints: {names}")
    if version < (1, 45) and any(mount.volume_options and mount.volume_options.subpath for mount in mounts):
        raise InvalidArgument("VolumeOptions.Subpath needs API v1.45 or newer")
    if version < (1, 48):
        if any(mount.type == "image" for mount in mounts):
            raise InvalidArgument('Mount type "Image" needs API v1.48 or newer')
        creation.endpoints = {name: replace(asked, gw_priority=0) for name, asked in creation.endpoints.items()}


def _plain_read_only(mount: Mount) -> Mount:
    """Before 1.44 a read-only bind mount left the mounts below it as they were."""
    if mount.type != "bind":
        return mount
    options = mount.bind_options or BindOptions()
    if options.read_only_force_recursive:
        raise InvalidArgument("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
    return replace(mount, bind_options=replace(options, read_only_non_recursive=True)) if mount.read_only else mount


def _warn_of_volume_driver(creation: _Creation, version: Version) -> None:
    if not creation.host.volume_driver or version < (1, 48):
        return
    for mount in creation.host.mounts or []:
        options = mount.volume_options
        if mount.type == "volume" and not (options and options.driver_config and options.driver_config.name):
            creation.warnings.append(
                "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. "
                "Use '--mount type=volume,volume-driver=...' instead"
            )
            return


def _move_mac_address(creation: _Creation, version: Version) -> None:
    """The container's MAC address became one of its endpoint's in 1.44."""
    mac, mode = creation.body.mac_address, creation.host.network_mode
    own_network = mode == "bridge" or (mode not in _PREDEFINED and not mode.startswith("container:"))
    if version < (1, 44):
        if not mac:
            creation.endpoints = {name: replace(asked, mac_address="") for name, asked in creation.endpoints.items()}
            return
        if not own_network:
            raise InvalidArgument("conflicting options: mac-address and the network mode")
        name = next(iter(creation.endpoints), mode)
        creation.endpoints[name] = replace(creation.endpoints.get(name) or EndpointSettings(), mac_address=mac)
        return
    if not mac:
        return
    if own_network:
        if creation.endpoints and mode not in creation.endpoints:
            raise InvalidArgument(
                "unable to migrate container-wide MAC address to a specific network: "
                "HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks"
            )
        asked = creation.endpoints.get(mode) or EndpointSettings()
        if asked.mac_address not in ("", mac):
            raise InvalidArgument(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main network, "
                "or be left empty"
            )
        creation.endpoints[mode] = replace(asked, mac_address=mac)
    creation.body = replace(creation.body, mac_address="")
    creation.warnings.append(
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
    )
